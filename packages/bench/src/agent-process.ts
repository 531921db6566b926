import { HostState } from "@zfsilo/api";
import { within } from "@zfsilo/lib";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { processorSeconds, residentBytes } from "./process-facts.ts";
import type { System } from "./system.ts";

/** An agent as a host runs it: a process of its own. */
export interface AgentProcess extends AsyncDisposable {
  residentBytes(): Promise<number>;
  processorSeconds(): Promise<number>;
}

const startLimitMs = 60_000;

/** Resolves when it serves the host. */
export async function startAgentProcess(system: System, host: string, directory: string, signal: AbortSignal): Promise<AgentProcess> {
  const { secret } = await system.hosts.createJoinToken({ host }, { signal });
  const main = join(fileURLToPath(import.meta.resolve("@zfsilo/agent")), "..", "main.js");
  const flags = [`--control-plane=${system.url}`, `--credential-file=${join(directory, "credential.json")}`].flatMap((flag) => flag.split(/=(.*)/, 2));
  const env = { PATH: process.env["PATH"], ZFSILO_JOIN_TOKEN: secret, ZFSILO_LOG_LEVEL: "error" };
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "ignore", "inherit"], env });
  const pid = Number(child.pid);
  const limit = within(startLimitMs, signal);
  const online = async (): Promise<boolean> => (await system.hosts.getHost({ name: host }, { signal: limit })).host?.state === HostState.ONLINE;
  try {
    while (!(await online())) await sleep(50, undefined, { signal: limit });
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    residentBytes: () => residentBytes(pid),
    processorSeconds: () => processorSeconds(pid),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}
