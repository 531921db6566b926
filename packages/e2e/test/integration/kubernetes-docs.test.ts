import { parseMutableParameters, parseParameters, parseSnapshotParameters } from "@zfsilo/csi";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startService, type ServiceProcess } from "../../src/api/process.ts";
import { check, leastValues, render, renderYaml, type KubeObject, type Verdict } from "../../src/deploy/chart.ts";
import { containerOf, find, names, workloads } from "../../src/deploy/pods.ts";
import { canBuildTools, helm, kubeCheck } from "../../src/deploy/tools.ts";

const run = promisify(execFile);
const docs = fileURLToPath(new URL("../../../../docs/", import.meta.url));
const page = readFileSync(`${docs}kubernetes.md`, "utf8");

interface Block {
  /** What the comment before it says: values, api, or nothing. */
  readonly mark: string;
  readonly language: string;
  readonly text: string;
}

const blocks: readonly Block[] = [...page.matchAll(/(?:<!-- (\w+) -->\n)?```(\w+)\n([^]*?)```/g)].map(([, mark = "", language = "", text = ""]) => ({
  mark,
  language,
  text,
}));
const those = (language: string, mark: string): string[] => blocks.filter((block) => block.language === language && block.mark === mark).map(({ text }) => text);
const commands = blocks.filter(({ language }) => language === "sh").map(({ text }) => text);

describe("docs/kubernetes.md", () => {
  it("has commands that a shell can read", async () => {
    expect(commands.length).toBeGreaterThan(10);
    for (const text of commands) await run("bash", ["-n", "-c", text]);
  });

  it("points to pages and sections that are there", () => {
    for (const [, file, anchor] of page.matchAll(/\]\(([\w./-]+\.md)(?:#([\w-]+))?\)/g)) {
      expect(existsSync(`${docs}${file}`), file).toBe(true);
      if (anchor === undefined) continue;
      const headings = [...readFileSync(`${docs}${file}`, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading.toLowerCase().replaceAll(" ", "-"));
      expect(headings).toContain(anchor);
    }
  });
});

describe.runIf(canBuildTools())("objects in docs/kubernetes.md", () => {
  let installed: readonly Verdict[];
  let written: readonly Verdict[];
  beforeAll(async () => {
    await Promise.all([helm(), kubeCheck()]);
    installed = await render(leastValues);
    written = await check(those("yaml", "").join("\n---\n"));
  }, 1_200_000);

  it("are accepted by an API server", () => {
    expect(written.filter(({ errors }) => errors.length > 0)).toEqual([]);
    expect(new Set(written.map(({ object }) => object.kind)).size).toBeGreaterThan(6);
  });

  it("have class parameters that the driver takes", () => {
    const classes = written.filter(({ object }) => object.kind.endsWith("Class"));
    expect(classes.length).toBeGreaterThan(3);
    for (const { object } of classes) takesParameters(object);
  });

  it.each(those("yaml", "values"))("are made of the values in example %#", async (values) => {
    const verdicts = await renderYaml(values);
    expect(verdicts.filter(({ errors }) => errors.length > 0)).toEqual([]);
    for (const { object } of verdicts) if (object.kind === "StorageClass") takesParameters(object);
  });

  it("are named in commands as the chart names them", () => {
    const text = commands.join("\n");
    const kinds: Readonly<Record<string, string>> = { deployment: "Deployment", daemonset: "DaemonSet", statefulset: "StatefulSet", service: "Service" };
    const named = [...text.matchAll(/\b(deployment|daemonset|statefulset|service)\/([\w-]+)(?: -c ([\w-]+))?/g)];
    expect(named.length).toBeGreaterThan(6);
    for (const [, kind = "", name = "", container] of named) {
      const object = find(installed, kinds[kind] ?? "", name);
      if (container !== undefined) containerOf(workloads([{ object, errors: [] }])[0]!.pod, container);
    }
    const keys = [...text.matchAll(/get secret ([\w-]+) -o jsonpath='\{\.data\.([\w\\.]+)\}'/g)];
    expect(keys.length).toBeGreaterThan(0);
    for (const [, name = "", key = ""] of keys) {
      expect(find(installed, "Secret", name)["data"]).toHaveProperty([key.replaceAll("\\", "")]);
    }
    const components = installed.map(({ object }) => object.metadata.labels?.["app.kubernetes.io/component"]);
    for (const [, component] of text.matchAll(/app\.kubernetes\.io\/component=([\w-]+)/g)) expect(components).toContain(component);
  });

  it("are those that the overview lists", () => {
    const overview = those("text", "")[0] ?? "";
    const listed = [...overview.matchAll(/^(Deployment|DaemonSet|StatefulSet) +(\S+)/gm)].map(([, kind, name]) => `${kind}/${name}`);
    expect(listed.sort()).toEqual(names(installed).filter((name) => /^(?:Deployment|DaemonSet|StatefulSet)\//.test(name)).sort());
  });
});

describe("calls in docs/kubernetes.md", () => {
  let service: ServiceProcess;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(async () => {
    await service.remove();
  });

  it("are understood by the control plane", async () => {
    const script = [
      // In place of a cluster; the volume's id is looked up with it.
      "kubectl() { echo csi-demo; }; base64() { cat >/dev/null; }",
      ...those("sh", "api").map((text) => text.replaceAll("https://localhost:8443", `http://${service.address}`).replaceAll("--cacert ca.crt ", "")),
    ]
      .join("\n")
      .replace(/^token=.*$/m, `token=${service.token}`);
    const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], { cwd: service.directory });
    const answers = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as { code?: string; message?: string });
    expect(answers).toHaveLength(script.match(/^zfsilo \w+\//gm)?.length ?? 0);
    expect(answers.length).toBeGreaterThan(8);
    // There is no volume, and no agent of store-1; but each call is one that exists, with fields that exist.
    expect(answers.filter(({ code }) => code !== undefined && !["not_found", "unavailable"].includes(code))).toEqual([]);
  });
});

function takesParameters({ kind, ...object }: KubeObject): void {
  const { "csi.storage.k8s.io/fstype": _fsType, ...parameters } = (object["parameters"] ?? {}) as Record<string, string>;
  if (kind === "StorageClass") parseParameters(parameters, {});
  else if (kind === "VolumeAttributesClass") parseMutableParameters(parameters);
  else parseSnapshotParameters(parameters);
}
