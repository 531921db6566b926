import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** The driver as a process of its own, to be killed. */
export class DriverProcess {
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined;

  constructor(flags: readonly string[]) {
    this.#flags = flags;
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    const tsx = join(root, "node_modules/tsx/dist/loader.mjs");
    const main = join(root, "packages/csi/src/main.ts");
    const argv = ["--conditions=development", "--import", tsx, main, "--log-level=silent", ...this.#flags];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    const ended = once(child, "exit").then(() => {
      throw new Error("the driver ended before it listened");
    });
    await Promise.race([once(createInterface(child.stdout), "line"), ended]);
    ended.catch(() => undefined);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}
