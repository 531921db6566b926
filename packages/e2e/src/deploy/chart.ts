import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { deployDirectory, helm, kubeCheck } from "./tools.ts";

export const chartDirectory = join(deployDirectory, "zfsilo");

/** The Kubernetes that kube-check is made of. `helm template` has no cluster to ask. */
const kubeVersion = "1.36.3";

/** As much of a Kubernetes object as the tests look at. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
  };
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- fields differ by kind, and kube-check has decoded each strictly.
  readonly [field: string]: any;
}

/** An object, and why an API server would refuse it. */
export interface Verdict {
  readonly object: KubeObject;
  readonly errors: readonly string[];
}

/** What every installation has to set. */
export const leastValues = { images: { registry: "registry.example.org/storage" } };

/** The chart's objects as text, or Helm's refusal as an Error. */
export async function renderText(values: object, options: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string> {
  return template(JSON.stringify(values), options, env);
}

export async function render(values: object, options?: readonly string[], env?: NodeJS.ProcessEnv): Promise<readonly Verdict[]> {
  return check(await renderText(values, options, env));
}

/** From a values file as it is written. */
export async function renderYaml(values: string): Promise<readonly Verdict[]> {
  return check(await template(values, [], {}));
}

async function template(values: string, options: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const args = ["template", "zfsilo", chartDirectory, "--namespace", "storage", "--kube-version", kubeVersion, "-f", "-", ...options];
  return pipe(await helm(), args, values, env);
}

/** What an API server would say of each YAML document. */
export async function check(documents: string): Promise<readonly Verdict[]> {
  return JSON.parse(await pipe(await kubeCheck(), [], documents)) as Verdict[];
}

async function pipe(program: string, args: readonly string[], input: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const closed = once(child, "close") as Promise<[number | null]>;
  child.stdin.end(input);
  const [code] = await closed;
  if (code !== 0) throw new Error(output.stderr.trim());
  return output.stdout;
}
