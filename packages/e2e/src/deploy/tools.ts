import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const deployDirectory = fileURLToPath(new URL("../../../csi/deploy/", import.meta.url));

const cache = join(homedir(), ".cache/zfsilo");
const helmVersion = "3.22.0";
const goVersion = { major: 1, minor: 26 };

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
  return kept(`helm-${helmVersion}/helm`, (directory) =>
    go(["install", `helm.sh/helm/v3/cmd/helm@v${helmVersion}`], "/", { GOBIN: directory }),
  );
}

/** What an API server would say (packages/csi/deploy/kube-check). */
export function kubeCheck(): Promise<string> {
  const source = join(deployDirectory, "kube-check");
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", "main.go", "validate.go"]) hash.update(readFileSync(join(source, file)));
  const print = hash.digest("hex").slice(0, 16);
  return kept(`kube-check-${print}/kube-check`, (directory) => go(["build", "-o", directory, "."], source));
}

/** Where the Go module proxy's copy of a module is unpacked. */
export async function goModule(module: string): Promise<string> {
  const { stdout } = await go(["mod", "download", "-json", module], "/");
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

async function go(args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}) {
  // Two at a time: a compiler for each core takes more memory than small machines have.
  return run("go", args, { cwd, env: { ...process.env, GOFLAGS: "-p=2", ...env } });
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
