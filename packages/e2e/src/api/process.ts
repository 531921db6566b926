import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** The service as a process of its own, started in an empty directory as a newcomer would. */
export interface ServiceProcess {
  readonly child: ChildProcess;
  /** Its working directory; `.zfsilo` is in it. */
  readonly directory: string;
  readonly address: string;
  readonly token: string;
  /** What it printed, line by line. */
  readonly output: readonly string[];
  /** Sends SIGTERM and resolves with the exit code and how long it took. */
  terminate(): Promise<{ readonly code: number | null; readonly ms: number }>;
  remove(): Promise<void>;
}

export async function startService(env: Readonly<Record<string, string>> = {}, directory?: string): Promise<ServiceProcess> {
  const cwd = directory ?? (await mkdtemp(join(tmpdir(), "zfsilo-service-")));
  const main = join(root, "packages/control-plane/src/main.ts");
  const tsx = join(root, "node_modules/tsx/dist/loader.mjs");
  const child = spawn(process.execPath, ["--conditions=development", "--import", tsx, main], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_LOG_LEVEL: "warn", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => output.push(text));
  const started = new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => {
      reject(new Error(`the service ended with ${code}: ${output.join("\n")}`));
    });
    createInterface(child.stdout).on("line", (line) => {
      output.push(line);
      if (line.startsWith("admin token: ")) resolve();
    });
  });
  await started;
  const address = /^zfsilo listening on http:\/\/(\S+)$/m.exec(output.join("\n"))?.[1] ?? "";
  return {
    child,
    directory: cwd,
    address,
    token: (await readFile(join(cwd, ".zfsilo/admin.token"), "utf8")).trim(),
    output,
    async terminate() {
      const began = performance.now();
      const exited = once(child, "exit") as Promise<[number | null]>;
      child.kill("SIGTERM");
      const [code] = await exited;
      return { code, ms: performance.now() - began };
    },
    async remove() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await rm(cwd, { recursive: true, force: true });
    },
  };
}
