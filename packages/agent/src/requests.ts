import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  FileBatchAnswerSchema,
  OutputStream,
  ServeRequestSchema,
  type CommandRequest,
  type FileBatchRequest,
  type PipeRequest,
  type SequencedCommand as SequencedMessage,
  type SequenceRequest,
  type ServeRequest,
  type StreamRequest,
} from "@zfsilo/api";
import { CommandError, FileOperationError, fileOperationFromMessage, fileResultToMessage, StreamExitError, type Argv, type Executor, type SequencedCommand } from "@zfsilo/command";
import { errorChain, reasonOf, StorageError, type AsyncQueue, type Logger } from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import { Credit } from "./credit.ts";
import { isRefusal } from "./refusal.ts";

export interface RequestsOptions {
  readonly executor: Executor;
  readonly outbox: AsyncQueue<ServeRequest>;
  readonly log: Logger;
}

/** Requests that run at once. The control plane keeps to half of it; one more is refused, so that a flood is bounded here. */
export const maxAtOnce = 64;

/** Of each output stream of a command: what a listing of many thousand datasets needs. */
export const maxOutputBytes = 64 << 20;

/** A command without an end of its own is ended after this. The longest that is asked for, making a filesystem, has minutes. */
export const maxTimeoutMs = 60 * 60_000;

/** Messages stay far below the 4 MiB that the other end takes. */
const pieceBytes = 256 << 10;

/** What still hangs in the kernel this long after it was killed is left behind. */
const stopLimitMs = 10_000;

type Outgoing = NonNullable<MessageInitShape<typeof ServeRequestSchema>["message"]>;

/** The requests of one stream: runs them, sends what comes of them, and ends them with the stream. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #running = new Map<bigint, AbortController>();
  readonly #credits = new Map<bigint, Credit>();
  readonly #ends = new Set<Promise<void>>();

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  command(request: CommandRequest): void {
    this.#begin(request.id, async (signal) => {
      const { exitCode, stdout, stderr } = await this.#options.executor.run(argvOf(request.argv), {
        signal,
        stdin: request.stdin,
        timeoutMs: bounded(request.timeoutMs, maxTimeoutMs),
        maxOutputBytes: bounded(request.maxOutputBytes, maxOutputBytes),
      });
      this.#sendOutput(request.id, OutputStream.STDOUT, stdout);
      this.#sendOutput(request.id, OutputStream.STDERR, stderr);
      this.#send({ case: "exit", value: { id: request.id, exitCode } });
    });
  }

  sequence({ id, commands, stdin, timeoutMs, maxOutputBytes: most }: SequenceRequest): void {
    this.#begin(id, async (signal) => {
      const [first, ...others] = commands.map(sequencedFrom);
      if (first === undefined) throw new StorageError("invalid_argument", "run a sequence: it has no command");
      const limits = { timeoutMs: bounded(timeoutMs, maxTimeoutMs), maxOutputBytes: bounded(most, maxOutputBytes) };
      const results = await this.#options.executor.sequence([first, ...others], { signal, stdin, ...limits });
      for (const [index, { exitCode, stdout, stderr }] of results.entries()) {
        this.#sendOutput(id, OutputStream.STDOUT, stdout);
        this.#sendOutput(id, OutputStream.STDERR, stderr);
        this.#send({ case: "sequenceExit", value: { id, exitCode, last: index === results.length - 1 } });
      }
    });
  }

  /** No more of the output is under way than the other end has room for; the programs are held up beyond that. */
  stream({ id, producer, consumer, timeoutMs, creditBytes }: StreamRequest): void {
    const credit = new Credit(Number(creditBytes));
    this.#credits.set(id, credit);
    this.#begin(id, async (signal) => {
      try {
        const options = { signal, timeoutMs: bounded(timeoutMs, maxTimeoutMs), maxWaitingBytes: pieceBytes };
        const output = this.#options.executor.stream(argvOf(producer), argvOf(consumer), options);
        for await (const chunk of output) {
          for (const data of piecesOf(chunk)) {
            await credit.take(data.length, signal);
            this.#send({ case: "output", value: { id, stream: OutputStream.STDOUT, data } });
          }
        }
        this.#send({ case: "exit", value: { id, exitCode: 0 } });
      } catch (error) {
        if (!(error instanceof StreamExitError)) throw error;
        this.#sendOutput(id, OutputStream.STDERR, error.result.stderr);
        this.#send({ case: "exit", value: { id, exitCode: error.result.exitCode } });
      } finally {
        this.#credits.delete(id);
      }
    });
  }

  credit(id: bigint, bytes: bigint): void {
    this.#credits.get(id)?.add(Number(bytes));
  }

  pipe(request: PipeRequest): void {
    this.#begin(request.id, async (signal) => {
      const result = await this.#options.executor.pipe(argvOf(request.producer), argvOf(request.consumer), {
        signal,
        timeoutMs: bounded(request.timeoutMs, maxTimeoutMs),
        maxOutputBytes: bounded(request.maxOutputBytes, maxOutputBytes),
      });
      this.#sendOutput(request.id, OutputStream.STDOUT, result.stdout);
      this.#sendOutput(request.id, OutputStream.STDERR, result.stderr);
      const { producerExitCode, consumerExitCode } = result;
      this.#send({ case: "pipeExit", value: { id: request.id, producerExitCode, consumerExitCode } });
    });
  }

  files(request: FileBatchRequest): void {
    this.#begin(request.id, async (signal) => {
      const operations = request.operations.map(fileOperationFromMessage);
      const results = await this.#options.executor.files(operations, { signal, timeoutMs: bounded(request.timeoutMs, maxTimeoutMs) });
      const answer = create(FileBatchAnswerSchema, { results: results.map(fileResultToMessage) });
      const pieces = [...piecesOf(toBinary(FileBatchAnswerSchema, answer))];
      pieces.forEach((data, index) => {
        this.#send({ case: "files", value: { id: request.id, data, last: index === pieces.length - 1 } });
      });
    });
  }

  /** Its answer still comes: the failure, or the result when that was faster. */
  cancel(id: bigint): void {
    this.#running.get(id)?.abort(new Error("the control plane does not wait any more"));
  }

  /**
   * Ends everything that runs, and waits for it: a control plane that asks again over the next stream must not meet what
   * the last one left.
   */
  async stop(reason: Error): Promise<void> {
    for (const controller of this.#running.values()) controller.abort(reason);
    if (this.#ends.size === 0) return;
    const abort = new AbortController();
    const tooLate = sleep(stopLimitMs, "late", { signal: abort.signal }).catch(() => undefined);
    const left = await Promise.race([Promise.all(this.#ends), tooLate]);
    abort.abort();
    if (left === "late") this.#options.log.error({ requests: this.#ends.size }, "requests of the lost stream do not end; they are left behind");
  }

  #begin(id: bigint, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.#running.has(id)) {
      this.#options.log.error({ id: String(id) }, "a request id was used twice; the second request is dropped");
      return;
    }
    if (this.#running.size >= maxAtOnce) {
      this.#options.log.warn({ running: this.#running.size }, "refused a request: too many run");
      const message = `the agent runs ${this.#running.size} requests already`;
      this.#send({ case: "failure", value: { id, reason: "unavailable", message } });
      return;
    }
    const controller = new AbortController();
    this.#running.set(id, controller);
    const end = work(controller.signal)
      .catch((error: unknown) => {
        this.#send({ case: "failure", value: { id, ...this.#describe(error) } });
      })
      .finally(() => {
        this.#running.delete(id);
        this.#ends.delete(end);
      });
    this.#ends.add(end);
  }

  #describe(error: unknown) {
    if (!(error instanceof StorageError)) this.#options.log.error({ err: error }, "a request failed for a reason of our own");
    const common = { reason: reasonOf(error), message: causeOf(error), hint: error instanceof StorageError ? (error.hint ?? "") : "" };
    if (error instanceof FileOperationError) return { ...common, errno: error.errno, index: error.index, mayHaveHappened: true };
    if (error instanceof CommandError) return { ...common, mayHaveHappened: error.outcome === "unknown", refused: isRefusal(error) };
    return { ...common, mayHaveHappened: !(error instanceof StorageError) };
  }

  #sendOutput(id: bigint, stream: OutputStream, text: string): void {
    if (text === "") return;
    for (const data of piecesOf(Buffer.from(text, "utf8"))) this.#send({ case: "output", value: { id, stream, data } });
  }

  #send(message: Outgoing): void {
    this.#options.outbox.push(create(ServeRequestSchema, { message }));
  }
}

function argvOf([program, ...args]: readonly string[]): Argv {
  if (program === undefined) throw new StorageError("invalid_argument", "run a command: it has no program");
  return [program, ...args];
}

function sequencedFrom({ argv, equals, without }: SequencedMessage): SequencedCommand {
  if (equals !== undefined) return { argv: argvOf(argv), gate: { equals } };
  return { argv: argvOf(argv), ...(without.length > 0 && { gate: { without } }) };
}

/** At least one piece, if only an empty one. */
function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at === 0 || at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

function bounded(asked: bigint, most: number): number {
  return asked > BigInt(most) ? most : Number(asked);
}

/** Why a command gave no exit. What was asked for, the other end knows. */
function causeOf(error: unknown): string {
  if (error instanceof CommandError) return errorChain(error.cause);
  if (error instanceof StorageError) return errorChain(error);
  return "internal error; see the agent's log";
}
