import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, cp, mkdir, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const deployDirectory = fileURLToPath(new URL("../../../csi/deploy/", import.meta.url));

const e2eDirectory = fileURLToPath(new URL("../../", import.meta.url));

const cache = join(homedir(), ".cache/zfsilo");
const helmVersion = "3.22.0";
/** 5.4.0 does not know GET_SNAPSHOT of spec 1.12; this one skips what 1.13 added. */
const sanityVersion = "5.6.0";
const goVersion = { major: 1, minor: 26 };
/** Static, all of them: one runs on machines whose C library may be older, and what they share is then compiled once. */
const linking = { CGO_ENABLED: "0", flag: "-ldflags=-s -w" };

/** CI has Go, or fails. Elsewhere, what needs it is left out. */
export function canBuildTools(): boolean {
  if (process.env["CI"] === "true") return true;
  try {
    const [, major, minor] = /go(\d+)\.(\d+)/.exec(execFileSync("go", ["version"], { encoding: "utf8" })) ?? [];
    return Number(major) === goVersion.major && Number(minor) >= goVersion.minor;
  } catch {
    return false;
  }
}

/** Helm, from its Go module: its releases are not in a package registry. */
export function helm(): Promise<string> {
  return installed("helm.sh/helm/v3/cmd/helm", helmVersion);
}

/** csi-sanity, of kubernetes-csi/csi-test. */
export function csiSanity(): Promise<string> {
  return installed("github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity", sanityVersion);
}

/** What an API server would say (packages/csi/deploy/kube-check). */
export function kubeCheck(): Promise<string> {
  return ownProgram(join(deployDirectory, "kube-check"));
}

/** The control plane of a cluster (packages/e2e/kube-cluster). */
export function kubeCluster(): Promise<string> {
  return ownProgram(join(e2eDirectory, "kube-cluster"));
}

/** A node of one: kubelet, and what it needs to run on a machine (packages/e2e/kube-node). */
export function kubeNode(): Promise<string> {
  return ownProgram(join(e2eDirectory, "kube-node"));
}

/** The directory of the chart's sidecars as programs (packages/e2e/kube-sidecars). */
export async function kubeSidecars(): Promise<string> {
  const source = join(e2eDirectory, "kube-sidecars");
  const path = `kube-sidecars-${fingerprint(source)}/csi-provisioner` as const;
  const program = await kept(path, async (directory) => {
    const manifest = await manifestWithLibrary(source, directory);
    await go(["build", linking.flag, `-modfile=${manifest}`, "-o", `${directory}/`, "tool"], source);
  });
  return dirname(program);
}

/** The go.mod of kube-sidecars with the provisioner's library as it has to be: see there. */
async function manifestWithLibrary(source: string, directory: string): Promise<string> {
  const module = "sigs.k8s.io/sig-storage-lib-external-provisioner/v13";
  const library = join(directory, "library");
  await cp(await goModule(`${module}@v13.0.0`), library, { recursive: true });
  // The module cache is read-only, and its copy with it.
  await chmod(join(library, "controller"), 0o755);
  await cp(join(source, "volume_in_use_error.go"), join(library, "controller/volume_in_use_error.go"));
  for (const file of ["go.mod", "go.sum"]) await cp(join(source, file), join(directory, file));
  const manifest = join(directory, "go.mod");
  await go(["mod", "edit", `-replace=${module}=${library}`, manifest], "/");
  return manifest;
}

/** Of the modules that kubeSidecars() builds. */
export function kubeSidecarModules(): Promise<string> {
  return readFile(join(e2eDirectory, "kube-sidecars/go.mod"), "utf8");
}

function installed(source: string, version: string): Promise<string> {
  const name = basename(source);
  return kept(`${name}-${version}/${name}`, (directory) => go(["install", `${source}@v${version}`], "/", { GOBIN: directory }));
}

function ownProgram(source: string): Promise<string> {
  const name = basename(source);
  return kept(`${name}-${fingerprint(source)}/${name}`, (directory) => go(["build", linking.flag, "-o", directory, "."], source));
}

/** Changes with the sources and the modules of a program, and with how it is built. */
function fingerprint(source: string): string {
  const hash = createHash("sha256").update(JSON.stringify(linking));
  for (const file of readdirSync(source).sort()) hash.update(readFileSync(join(source, file)));
  return hash.digest("hex").slice(0, 16);
}

/** Where the Go module proxy's copy of a module is unpacked. */
export async function goModule(module: string): Promise<string> {
  const { stdout } = await go(["mod", "download", "-json", module], "/");
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

async function go(args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}) {
  // Two at a time: a compiler for each core takes more memory than small machines have.
  return run("go", args, { cwd, env: { ...process.env, GOFLAGS: "-p=2", CGO_ENABLED: linking.CGO_ENABLED, ...env } });
}

/** A program that is built once, in a directory that appears complete or not at all. */
async function kept(path: `${string}/${string}`, build: (directory: string) => Promise<unknown>): Promise<string> {
  const program = join(cache, path);
  if (existsSync(program)) return program;
  const directory = join(program, "..");
  const making = `${directory}.${process.pid}`;
  await mkdir(making, { recursive: true });
  await build(making);
  // Another process may have been first, and its program is the same.
  await rename(making, directory).catch(() => rm(making, { recursive: true, force: true }));
  return program;
}
