import { create } from "@bufbuild/protobuf";
import { ServeRequestSchema, type AgentService, type ServeRequest } from "@zfsilo/api";
import type { Client } from "@connectrpc/connect";
import { AsyncQueue, StorageError, type Logger } from "@zfsilo/lib";
import type { Executor } from "@zfsilo/command";
import { Requests } from "./requests.ts";

export interface ServeOptions {
  readonly client: Client<typeof AgentService>;
  readonly credential: string;
  readonly hello: { readonly version: string; readonly host: string; readonly instance: string; readonly nodeName: string };
  readonly executor: Executor;
  readonly log: Logger;
  /** Told once the control plane has taken the stream. */
  readonly onWelcome: () => void;
  /** The control plane asks for another credential; the offer, and then that it is in use, go out through `send`. */
  readonly rotation: Rotation;
}

/** What the agent does with its credential while it serves. */
export interface Rotation {
  /** Makes another one up, and answers its hash. */
  offer(): Promise<string>;
  /** It is known at the other end: the one before is forgotten. */
  accepted(): Promise<void>;
}

const helloLimitMs = 15_000;
/** Heartbeats that may stay unanswered. */
const missedHeartbeats = 3;

/** Serves one stream until it ends or breaks; `signal` ends it. Whatever ran by then has ended too, unless it hangs. */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const outbox = new AsyncQueue<ServeRequest>();
  const cut = new AbortController();
  const onAbort = (): void => {
    cut.abort(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const requests = new Requests({ executor: options.executor, outbox, log: options.log });
  const pulse = new Pulse(outbox, cut);
  let ended: Error = new Error("the control plane ended the stream");
  try {
    outbox.push(create(ServeRequestSchema, { message: { case: "hello", value: { ...options.hello, runsSequences: true } } }));
    const headers = { authorization: `Bearer ${options.credential}` };
    for await (const { message } of options.client.serve(outbox, { headers, signal: cut.signal })) {
      pulse.heard();
      switch (message.case) {
        case "welcome":
          pulse.start(message.value.heartbeatIntervalSeconds * 1000);
          options.onWelcome();
          break;
        case "heartbeat":
          if (message.value.answerWanted) outbox.push(create(ServeRequestSchema, { message: { case: "heartbeat", value: {} } }));
          break;
        case "command":
          requests.command(message.value);
          break;
        case "files":
          requests.files(message.value);
          break;
        case "stream":
          requests.stream(message.value);
          break;
        case "pipe":
          requests.pipe(message.value);
          break;
        case "sequence":
          requests.sequence(message.value);
          break;
        case "credit":
          requests.credit(message.value.id, message.value.bytes);
          break;
        case "cancel":
          requests.cancel(message.value.id);
          break;
        case "credentialRequest": {
          const credentialSha256 = await options.rotation.offer();
          outbox.push(create(ServeRequestSchema, { message: { case: "credentialOffer", value: { credentialSha256 } } }));
          break;
        }
        case "credentialAccepted":
          await options.rotation.accepted();
          outbox.push(create(ServeRequestSchema, { message: { case: "credentialInUse", value: {} } }));
          break;
        case undefined:
          options.log.warn({ message: message.case }, "a message of the control plane is not known to this version");
      }
    }
  } catch (error) {
    ended = cut.signal.reason instanceof Error ? cut.signal.reason : error instanceof Error ? error : new Error(String(error));
    throw ended;
  } finally {
    signal.removeEventListener("abort", onAbort);
    pulse.stop();
    outbox.end();
    await requests.stop(ended);
  }
}

/** Heartbeats out, and a stream that is cut when none comes back. */
class Pulse {
  readonly #outbox: AsyncQueue<ServeRequest>;
  readonly #cut: AbortController;
  #limit: NodeJS.Timeout;
  #beat: NodeJS.Timeout | undefined;
  #silenceMs = helloLimitMs;

  constructor(outbox: AsyncQueue<ServeRequest>, cut: AbortController) {
    this.#outbox = outbox;
    this.#cut = cut;
    this.#limit = this.#newLimit();
  }

  start(everyMs: number): void {
    this.#silenceMs = Math.max(everyMs, 1_000) * missedHeartbeats;
    clearInterval(this.#beat);
    this.#beat = setInterval(() => {
      this.#outbox.push(create(ServeRequestSchema, { message: { case: "heartbeat", value: { answerWanted: true } } }));
    }, Math.max(everyMs, 1_000));
    this.heard();
  }

  heard(): void {
    clearTimeout(this.#limit);
    this.#limit = this.#newLimit();
  }

  stop(): void {
    clearTimeout(this.#limit);
    clearInterval(this.#beat);
  }

  #newLimit(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#cut.abort(new StorageError("unavailable", `the control plane was silent for ${this.#silenceMs} ms`));
    }, this.#silenceMs);
  }
}
