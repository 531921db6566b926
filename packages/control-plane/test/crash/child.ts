import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { World } from "../world/world.ts";

export interface Instant {
  readonly when: "before" | "after";
  /** Of the journal's writes, from 1. */
  readonly write: number;
}

export interface ApiCall {
  readonly method: string;
  readonly message: object;
}

const serve = fileURLToPath(new URL("serve.ts", import.meta.url));

/** Serves on the directory in a process of its own, makes one call, and sees the process die of SIGKILL at the instant. */
export async function killDuring(directory: string, { method, message }: ApiCall, { when, write }: Instant): Promise<void> {
  const argv = ["--conditions=development", "--import", "tsx", serve, directory, when, String(write)];
  const env = { ...process.env, ZFSILO_SECRET_KEY: World.secretKey };
  const child = spawn(process.execPath, argv, { env, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit") as Promise<[code: number | null, signal: string | null]>;
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const { url, token } = JSON.parse(line) as { url: string; token: string };
      const answer = await call(`${url}/zfsilo.v1.${method}`, token, message);
      if (answer !== "no answer") throw new Error(`${method} was answered ${answer} and the process lived on`);
      break;
    }
    const [code, signal] = await exited;
    if (signal !== "SIGKILL") throw new Error(`the process ended with ${code ?? signal ?? ""}: ${complaint}`);
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

async function call(url: string, token: string, message: object): Promise<string> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(message),
    });
    return `${response.status} ${await response.text()}`;
  } catch {
    return "no answer";
  }
}
