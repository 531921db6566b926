import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const directory = fileURLToPath(new URL("./go/", import.meta.url));

/** Go 1.21 and later fetch the toolchain that go.mod names by themselves. CI must have it. */
export function hasGo(): boolean {
  if (process.env["CI"] === "true") return true;
  try {
    const [, minor] = /go1\.(\d+)/.exec(execFileSync("go", ["version"], { encoding: "utf8" })) ?? [];
    return Number(minor) >= 21;
  } catch {
    return false;
  }
}

/** Builds a program of test/go, and keeps it until its source or its modules change. */
export async function goProgram(name: "descriptor" | "client"): Promise<string> {
  const sources = ["go.mod", "go.sum", `${name}/main.go`].map((file) => readFileSync(join(directory, file)));
  const print = createHash("sha256").update(Buffer.concat(sources)).digest("hex").slice(0, 16);
  const cache = join(homedir(), ".cache/zfsilo");
  const program = join(cache, `csi-test-${name}-${print}`);
  if (existsSync(program)) return program;
  await mkdir(cache, { recursive: true });
  const made = `${program}.${process.pid}`;
  await run("go", ["build", "-o", made, `./${name}`], { cwd: directory, env: { ...process.env, GOFLAGS: "-p=2" } });
  await rename(made, program);
  return program;
}
