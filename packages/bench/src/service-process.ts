import { StorageError, within } from "@zfsilo/lib";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { residentBytes } from "./process-facts.ts";
import { volumeClient, type Volumes } from "./system.ts";

/** A control plane as `npm start` runs it: a process of its own. */
export interface ServiceProcess extends AsyncDisposable {
  readonly volumes: Volumes;
  /** From the start of the process to the first 200 of /readyz. */
  readonly readyAfterMs: number;
  /** Resident memory in bytes. */
  residentBytes(): Promise<number>;
}

const startLimitMs = 60_000;

export async function startService(dataDir: string, signal: AbortSignal): Promise<ServiceProcess> {
  const main = join(fileURLToPath(import.meta.resolve("@zfsilo/control-plane")), "..", "main.js");
  const limit = within(startLimitMs, signal);
  const began = performance.now();
  const child = spawn(process.execPath, [main], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: process.env["PATH"], ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_DATA_DIR: dataDir },
  });
  try {
    const baseUrl = await listeningAt(child.stdout, limit);
    while (!(await isReady(baseUrl, limit))) await sleep(5, undefined, { signal: limit });
    const readyAfterMs = performance.now() - began;
    const token = await readFile(join(dataDir, "admin.token"), "utf8");
    return {
      volumes: volumeClient(baseUrl, token),
      readyAfterMs,
      residentBytes: () => residentBytes(Number(child.pid)),
      async [Symbol.asyncDispose]() {
        child.kill("SIGTERM");
        if (child.exitCode === null) await once(child, "exit");
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    throw new StorageError("internal", `start ${main}`, { cause: error, hint: "Build first: npm run build." });
  }
}

/** Not by fetch, whose first call loads a client for longer than the answer takes. */
async function isReady(baseUrl: string, signal: AbortSignal): Promise<boolean> {
  const [response] = (await once(http.get(`${baseUrl}/readyz`, { signal }), "response")) as [http.IncomingMessage];
  response.resume();
  return response.statusCode === 200;
}

async function listeningAt(stdout: NodeJS.ReadableStream, signal: AbortSignal): Promise<string> {
  for await (const line of createInterface({ input: stdout, signal })) {
    const address = /^zfsilo listening on (http:\/\/\S+)$/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("it ended without listening");
}
