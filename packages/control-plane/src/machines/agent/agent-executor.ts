import {
  batchArgv,
  CallLimit,
  checkArgv,
  checkFileOperations,
  CommandError,
  checkSequence,
  fileOperationToMessage,
  inTurn,
  shownPipe,
  shownSequence,
  Slots,
  type Argv,
  type CallOptions,
  type Executor,
  type FileOperation,
  type FileResult,
  type Gate,
  type PipeOptions,
  type PipeResult,
  type RunOptions,
  type RunResult,
  type Sequence,
  type StreamOptions,
} from "@zfsilo/command";
import type { HostId } from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentHub } from "./agent-hub.ts";
import type { AgentLink, AgentRequest } from "./agent-link.ts";
import { PendingCommand, PendingFiles, PendingPipe, PendingSequence, PendingStream } from "./agent-request.ts";

/** Requests that one agent works on at once; the others wait here. The agent itself refuses more than twice as many. */
const maxAtOnce = 32;

/** A request is one message. The largest ones, a batch that writes a file, have some hundred KiB. */
const maxRequestBytes = 16 << 20;

const defaultMaxOutputBytes = 1 << 20;
const defaultTimeoutMs = 30_000;

/** How long a cancelled request's end is waited for: the agent gives a process group 3 s. */
const endWaitMs = 5_000;

/** Acts on a host through the stream that its agent holds open to us. */
export class AgentExecutor implements Executor {
  readonly host: string;
  readonly #id: HostId;
  readonly #hub: Pick<AgentHub, "find">;
  readonly #slots = new Slots(maxAtOnce);
  readonly #calls = new Set<CallLimit>();
  #closed = false;

  constructor(id: HostId, hub: Pick<AgentHub, "find">) {
    this.host = id;
    this.#id = id;
    this.#hub = hub;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    checkArgv(this.host, argv);
    const { stdin = "", timeoutMs = defaultTimeoutMs, maxOutputBytes = defaultMaxOutputBytes } = options;
    this.#checkSize(argv, [...argv, stdin]);
    const pending = new PendingCommand(this.host, argv, maxOutputBytes);
    const command = { argv: [...argv], stdin, timeoutMs: BigInt(timeoutMs), maxOutputBytes: BigInt(maxOutputBytes) };
    return await this.#call(argv, options, pending, (id) => ({ case: "command", value: { id, ...command } }));
  }

  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    checkSequence(this.host, commands);
    // An agent of an older version would leave the request unanswered.
    if (this.#hub.find(this.#id)?.identity.runsSequences === false) {
      return await inTurn(this.host, commands, options, (argv, limits) => this.run(argv, limits));
    }
    const { stdin = "", timeoutMs = defaultTimeoutMs, maxOutputBytes = defaultMaxOutputBytes } = options;
    const shown = shownSequence(commands);
    this.#checkSize(shown, [...shown, stdin, ...commands.flatMap(({ gate }) => textsOf(gate))]);
    const pending = new PendingSequence(this.host, shown, maxOutputBytes);
    const messages = commands.map(({ argv, gate }) => ({ argv: [...argv], ...messageOf(gate) }));
    const request = { commands: messages, stdin, timeoutMs: BigInt(timeoutMs), maxOutputBytes: BigInt(maxOutputBytes) };
    return await this.#call(shown, options, pending, (id) => ({ case: "sequence", value: { id, ...request } }));
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    for (const each of [producer, consumer]) checkArgv(this.host, each);
    const { timeoutMs = defaultTimeoutMs, maxWaitingBytes = defaultMaxOutputBytes } = options;
    const argv = shownPipe(producer, consumer);
    this.#checkSize(argv, [...producer, ...consumer]);
    using limit = new CallLimit(this.host, argv, options);
    this.#calls.add(limit);
    try {
      await this.#takePlace(argv, limit);
      try {
        limit.throwIfOver("not_started");
        const pending = new PendingStream(this.host, argv, maxWaitingBytes);
        const request = { producer: [...producer], consumer: [...consumer], timeoutMs: BigInt(timeoutMs), creditBytes: BigInt(maxWaitingBytes) };
        yield* this.#read(this.#link(argv), pending, (id) => ({ case: "stream", value: { id, ...request } }), limit);
      } finally {
        this.#slots.release();
      }
    } finally {
      this.#calls.delete(limit);
    }
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    for (const argv of [producer, consumer]) checkArgv(this.host, argv);
    const { timeoutMs = defaultTimeoutMs, maxOutputBytes = defaultMaxOutputBytes } = options;
    const shown = shownPipe(producer, consumer);
    this.#checkSize(shown, [...producer, ...consumer]);
    const pending = new PendingPipe(this.host, shown, maxOutputBytes);
    const request = { producer: [...producer], consumer: [...consumer], timeoutMs: BigInt(timeoutMs), maxOutputBytes: BigInt(maxOutputBytes) };
    return await this.#call(shown, options, pending, (id) => ({ case: "pipe", value: { id, ...request } }));
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    checkFileOperations(operations);
    const argv = batchArgv(operations);
    this.#checkSize(argv, operations.map((operation) => `${operation.path}${operation.op === "write" ? operation.content : ""}`));
    const pending = new PendingFiles(this.host, argv, operations);
    const messages = operations.map(fileOperationToMessage);
    const timeoutMs = BigInt(options.timeoutMs ?? defaultTimeoutMs);
    return await this.#call(argv, options, pending, (id) => ({ case: "files", value: { id, operations: messages, timeoutMs } }));
  }

  close(): Promise<void> {
    this.#closed = true;
    const error = new Error("the executor was closed");
    this.#slots.refuseWaiting(error);
    for (const call of this.#calls) call.stop("unavailable", error);
    return Promise.resolve();
  }

  async #call<T>(
    argv: Argv,
    options: CallOptions,
    pending: AgentRequest & { readonly result: Promise<T> },
    make: Parameters<AgentLink["begin"]>[1],
  ): Promise<T> {
    using limit = new CallLimit(this.host, argv, options);
    this.#calls.add(limit);
    try {
      await this.#takePlace(argv, limit);
      try {
        limit.throwIfOver("not_started");
        return await this.#ask(this.#link(argv), pending, make, limit);
      } finally {
        this.#slots.release();
      }
    } finally {
      this.#calls.delete(limit);
    }
  }

  async #ask<T>(
    link: AgentLink,
    pending: AgentRequest & { readonly result: Promise<T> },
    make: Parameters<AgentLink["begin"]>[1],
    limit: CallLimit,
  ): Promise<T> {
    const id = link.begin(pending, make);
    try {
      return await limit.race(pending.result, "unknown");
    } catch (error) {
      if (!link.alive) throw error;
      link.send({ case: "cancel", value: { id } });
      // What runs there has ended, or hangs, when the caller goes on to undo it.
      if (limit.over && !this.#closed) await Promise.race([pending.result.catch(() => undefined), sleep(endWaitMs, undefined, { ref: false })]);
      throw error;
    } finally {
      link.end(id);
    }
  }

  /** Gives credit for what the reader has taken, and ends the program when the reader stops. */
  async *#read(link: AgentLink, pending: PendingStream, make: Parameters<AgentLink["begin"]>[1], limit: CallLimit): AsyncGenerator<Uint8Array, void, undefined> {
    const id = link.begin(pending, make);
    const cancel = (): void => {
      if (link.alive) link.send({ case: "cancel", value: { id } });
    };
    // Also while the reader is busy with the piece before.
    limit.signal.addEventListener("abort", cancel, { once: true });
    let ended = false;
    try {
      for (;;) {
        const piece = await limit.race(pending.watch.next(), "unknown");
        if (piece === undefined) break;
        yield piece;
        link.send({ case: "credit", value: { id, bytes: BigInt(piece.length) } });
      }
      ended = true;
    } catch (error) {
      ended = !limit.over;
      throw error;
    } finally {
      pending.watch.abandon();
      if (!ended && link.alive) {
        cancel();
        if (!this.#closed) await Promise.race([pending.result.catch(() => undefined), sleep(endWaitMs, undefined, { ref: false })]);
      }
      limit.signal.removeEventListener("abort", cancel);
      link.end(id);
    }
  }

  async #takePlace(argv: Argv, limit: CallLimit): Promise<void> {
    try {
      await this.#slots.acquire(limit.signal);
    } catch (error) {
      if (limit.over) throw limit.failure("not_started");
      throw new CommandError("unavailable", this.host, argv, "not_started", error);
    }
  }

  #link(argv: Argv): AgentLink {
    if (this.#closed) throw new CommandError("unavailable", this.host, argv, "not_started", new Error("the executor is closed"));
    const link = this.#hub.find(this.#id);
    if (link?.alive === true) return link;
    const hint = "See that the agent runs there and reaches the control plane; its log tells what keeps it away.";
    throw new CommandError("unavailable", this.host, argv, "not_started", new Error("its agent is not connected"), hint);
  }

  #checkSize(argv: Argv, texts: readonly string[]): void {
    const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (size <= maxRequestBytes) return;
    throw new CommandError("invalid_argument", this.host, argv, "not_started", new Error(`the request has more than ${maxRequestBytes} bytes`));
  }
}

function textsOf(gate: Gate | undefined): readonly string[] {
  if (gate === undefined) return [];
  return "equals" in gate ? [gate.equals] : gate.without;
}

function messageOf(gate: Gate | undefined): { readonly equals?: string; readonly without?: string[] } {
  if (gate === undefined) return {};
  return "equals" in gate ? { equals: gate.equals } : { without: [...gate.without] };
}
