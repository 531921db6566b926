import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
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

export type Order = { readonly do: "serve"; readonly directory: string; readonly instant?: Instant } | { readonly do: "stop" };

export type Reply = Served | Stopped | { readonly error: string };

interface Served {
  readonly url: string;
  readonly token: string;
}

interface Stopped {
  /** How many filesystems it made on the host that the volume is staged on. */
  readonly formats: number;
}

/** The program of a child, as one file. */
export const serveProgram = new URL("serve.ts", import.meta.url);

/** A process that serves where it is told to. */
export class Child {
  readonly #process: ChildProcess;
  readonly #exited: Promise<[code: number | null, signal: string | null]>;
  #complaint = "";

  constructor(program: string) {
    const env = { ...process.env, ZFSILO_SECRET_KEY: World.secretKey };
    this.#process = fork(program, { execArgv: [], env, stdio: ["ignore", "ignore", "pipe", "ipc"] });
    this.#exited = once(this.#process, "exit") as Promise<[code: number | null, signal: string | null]>;
    this.#process.stderr?.on("data", (chunk: Buffer) => {
      this.#complaint += chunk.toString();
    });
  }

  serve(directory: string, instant?: Instant): Promise<Served> {
    return this.#order({ do: "serve", directory, ...(instant && { instant }) });
  }

  /** Ends its service, not the process: it can serve elsewhere then. */
  stop(): Promise<Stopped> {
    return this.#order({ do: "stop" });
  }

  async expectKilled(): Promise<void> {
    const [code, signal] = await this.#exited;
    if (signal !== "SIGKILL") throw new Error(`the process ended with ${code ?? signal ?? ""}: ${this.#complaint}`);
  }

  async end(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  async #order<R extends Exclude<Reply, { error: string }>>(order: Order): Promise<R> {
    this.#process.send(order);
    const answered = once(this.#process, "message") as Promise<[R | { error: string }]>;
    const [reply] = await Promise.race([
      answered,
      this.#exited.then(([code, signal]) => {
        throw new Error(`the process ended with ${code ?? signal ?? ""}: ${this.#complaint}`);
      }),
    ]);
    if ("error" in reply) throw new Error(reply.error);
    return reply;
  }
}

/**
 * Processes for cell after cell. Starting one costs more than all it does then, so the one that finished what another had left
 * is the one that is killed next.
 */
export class Children {
  readonly #program: string;
  readonly #idle: Child[] = [];

  constructor(program: string) {
    this.#program = program;
  }

  take(): Child {
    return this.#idle.pop() ?? new Child(this.#program);
  }

  giveBack(child: Child): void {
    this.#idle.push(child);
  }

  async end(): Promise<void> {
    await Promise.all(this.#idle.map((child) => child.end()));
  }
}

/** Serves on the directory, makes one call, and sees the process die of SIGKILL at the instant. */
export async function killDuring(child: Child, directory: string, call: ApiCall, instant: Instant): Promise<void> {
  const answer = await ask(await child.serve(directory, instant), call);
  if (answer !== undefined) throw new Error(`${call.method} was answered ${answer.status} and the process lived on`);
  await child.expectKilled();
}

/** Serves on what a dead process left until that is finished, and lets go of it. */
export async function finish(child: Child, directory: string): Promise<void> {
  const { url } = await child.serve(directory);
  const until = performance.now() + 20_000;
  for (;;) {
    const readiness = await (await fetch(`${url}/readyz`)).text();
    if (readiness.includes("open operations: 0\n")) break;
    if (performance.now() > until) throw new Error(`not finished: ${readiness}`);
    await sleep(10);
  }
  await child.stop();
}

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Undefined: the connection ended without an answer. */
export async function ask({ url, token }: Served, { method, message }: ApiCall): Promise<Answer | undefined> {
  try {
    const response = await fetch(`${url}/zfsilo.v1.${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(message),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  } catch {
    return undefined;
  }
}
