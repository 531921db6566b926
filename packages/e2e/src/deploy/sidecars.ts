import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { check } from "./chart.ts";
import { goModule, kubeSidecarModules } from "./tools.ts";

/** A rule of a Role or ClusterRole. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Sidecar {
  /** The image's name, which is the container's and the program's too. */
  readonly name: string;
  /** Without its version, which is the image's tag. */
  readonly module: string;
  readonly program: string;
  /** Example roles that come with it. */
  readonly roles: string;
}

const organisation = "github.com/kubernetes-csi";
const snapshotterModule = `${organisation}/external-snapshotter/v8`;
const snapshotClientModule = `${organisation}/external-snapshotter/client/v8`;

/** Those whose sources the Go module proxy has. */
export const sidecars: readonly Sidecar[] = [
  { name: "csi-provisioner", module: `${organisation}/external-provisioner/v6`, program: "cmd/csi-provisioner", roles: "deploy/kubernetes/rbac.yaml" },
  { name: "csi-attacher", module: `${organisation}/external-attacher/v4`, program: "cmd/csi-attacher", roles: "deploy/kubernetes/rbac.yaml" },
  { name: "csi-resizer", module: `${organisation}/external-resizer/v2`, program: "cmd/csi-resizer", roles: "deploy/kubernetes/rbac.yaml" },
  {
    name: "csi-snapshotter",
    module: snapshotterModule,
    program: "cmd/csi-snapshotter",
    roles: "deploy/kubernetes/csi-snapshotter/rbac-csi-snapshotter.yaml",
  },
];

/** Flags that a sidecar's sources define, its own and those of the library that all of them share. */
export async function flagsOf({ module, program }: Sidecar, version: string): Promise<Set<string>> {
  const directory = await goModule(`${module}@${version}`);
  const manifest = await readFile(join(directory, "go.mod"), "utf8");
  const library = /github\.com\/kubernetes-csi\/csi-lib-utils (v\S+)/.exec(manifest)?.[1];
  const shared = await goModule(`${organisation}/csi-lib-utils@${library}`);
  const text = (await Promise.all([sources(join(directory, program)), sources(join(shared, "standardflags"))])).join("\n");
  // flag.Duration("timeout", ..), flag.Var(.., "feature-gates", ..), flags.StringVar(&x, "csi-address", ..)
  const definitions = text.matchAll(/\bflags?\.(?:[A-Z]\w*\("([\w-]+)"|\w*Var\((?:[^"\n]*), "([\w-]+)")/g);
  return new Set([...definitions].map(([, plain, variable]) => plain ?? variable ?? ""));
}

/** The version that kubeSidecars() builds. */
export async function builtVersion({ module }: Sidecar): Promise<string | undefined> {
  return (await kubeSidecarModules()).split("\n").map((line) => line.trim().split(" ")).find(([path]) => path === module)?.[1];
}

/** Definitions of the kinds that the snapshotter serves: one YAML document each. */
export async function snapshotKinds(version: string): Promise<string[]> {
  const directory = join(await goModule(`${snapshotClientModule}@${version}`), "config/crd");
  const files = (await readdir(directory)).filter((file) => file.includes("snapshot.storage.k8s.io_"));
  return Promise.all(files.map((file) => readFile(join(directory, file), "utf8")));
}

/** What the roles that come with a sidecar would grant. */
export async function exampleRules({ module, roles }: Sidecar, version: string): Promise<Rule[]> {
  const directory = await goModule(`${module}@${version}`);
  const verdicts = await check(await readFile(join(directory, roles), "utf8"));
  return verdicts.flatMap(({ object }) => (object.kind.endsWith("Role") ? (object["rules"] as Rule[]) : []));
}

/** Each single permission: group/resource:verb. */
export function permissions(rules: readonly Rule[]): Set<string> {
  return new Set(
    rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${group}/${resource}:${verb}`))),
    ),
  );
}

async function sources(directory: string): Promise<string> {
  const files = (await readdir(directory)).filter((file) => file.endsWith(".go") && !file.endsWith("_test.go"));
  return (await Promise.all(files.map((file) => readFile(join(directory, file), "utf8")))).join("\n");
}
