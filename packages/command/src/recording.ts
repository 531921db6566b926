import { StorageError, type Reason } from "@zfsilo/lib";
import { CommandError, FileOperationError, StreamExitError, type Outcome } from "./command-error.ts";
import type {
  Argv,
  CallOptions,
  Errno,
  Executor,
  FileOperation,
  FileResult,
  PipeOptions,
  PipeResult,
  RunOptions,
  RunResult,
  Sequence,
  StreamOptions,
} from "./executor.ts";
import { shownPipe } from "./pipe-script.ts";
import { shownSequence } from "./sequence.ts";

/** A file operation as it may be shown: secret content is replaced, long content cut. */
export type RecordedOperation = FileOperation;

export interface RecordedCall {
  /** When it began. */
  readonly at: Date;
  readonly host: string;
  readonly durationMs: number;
  /** A command, two with a `|` between them, or a sequence with `&&` between them, without standard input, which may hold a secret. */
  readonly argv?: Argv;
  /** Or a batch of file operations. */
  readonly operations?: readonly RecordedOperation[];
  readonly exitCode?: number;
  /** The start of what it said on standard error, at most 1 KiB. */
  readonly stderr?: string;
  readonly error?: RecordedError;
}

export interface RecordedError {
  readonly reason: Reason;
  readonly message: string;
  /** For a batch: the operation that failed and why; for a command without an exit: whether it may have taken effect. */
  readonly index?: number;
  readonly errno?: Errno;
  readonly outcome?: Outcome;
}

const excerptLength = 1024;
const secretMark = "[secret]";

export interface RecordingOptions {
  /** Called at the end of every call, for metrics. It must not throw. */
  readonly onCall?: (call: RecordedCall) => void;
  /** How many calls `calls` keeps, the oldest leaving first; default 1,000. */
  readonly maxCalls?: number;
}

/** Passes everything on to another executor and remembers what was done, for "show me what you did" and for metrics. */
export class RecordingExecutor implements Executor {
  readonly #inner: Executor;
  readonly #onCall: (call: RecordedCall) => void;
  readonly #maxCalls: number;
  readonly #calls: RecordedCall[] = [];
  #dropped = 0;

  constructor(inner: Executor, options: RecordingOptions = {}) {
    this.#inner = inner;
    this.#onCall = options.onCall ?? (() => undefined);
    this.#maxCalls = options.maxCalls ?? 1_000;
  }

  get host(): string {
    return this.#inner.host;
  }

  /** The calls that ended, oldest first. */
  get calls(): readonly RecordedCall[] {
    return this.#calls;
  }

  /** How many older calls are no longer kept. */
  get dropped(): number {
    return this.#dropped;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    return await this.#record({ argv }, () => this.#inner.run(argv, options), describeExit);
  }

  /** Its exit is that of the last one that ran. */
  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return await this.#record({ argv: shownSequence(commands) }, () => this.#inner.sequence(commands, options), (results) => {
      const last = results.at(-1);
      return last === undefined ? {} : describeExit(last);
    });
  }

  /** Recorded once it is over, with how long it took; nothing of what it said. */
  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const end = this.#begin({ argv: shownPipe(producer, consumer) });
    let last: Partial<RecordedCall> = { error: { reason: "aborted", message: "the reader stopped before the end" } };
    try {
      yield* this.#inner.stream(producer, consumer, options);
      last = { exitCode: 0 };
    } catch (error) {
      last = error instanceof StreamExitError ? describeExit(error.result) : { error: describeError(error) };
      throw error;
    } finally {
      end(last);
    }
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    const work = () => this.#inner.pipe(producer, consumer, options);
    return await this.#record({ argv: shownPipe(producer, consumer) }, work, (result) =>
      describeExit({ exitCode: result.consumerExitCode === 0 ? result.producerExitCode : result.consumerExitCode, stderr: result.stderr }),
    );
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    return await this.#record({ operations: operations.map(redact) }, () => this.#inner.files(operations, options), () => ({}));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #record<T>(
    what: Pick<RecordedCall, "argv" | "operations">,
    work: () => Promise<T>,
    describe: (result: T) => Partial<RecordedCall>,
  ): Promise<T> {
    const keep = this.#begin(what);
    try {
      const result = await work();
      keep(describe(result));
      return result;
    } catch (error) {
      keep({ error: describeError(error) });
      throw error;
    }
  }

  /** Gives the function that records the end. */
  #begin(what: Pick<RecordedCall, "argv" | "operations">): (end: Partial<RecordedCall>) => void {
    const at = new Date();
    const start = performance.now();
    return (end) => {
      this.#keep({ at, host: this.host, durationMs: performance.now() - start, ...what, ...end });
    };
  }

  #keep(call: RecordedCall): void {
    this.#calls.push(call);
    while (this.#calls.length > this.#maxCalls) {
      this.#calls.shift();
      this.#dropped += 1;
    }
    this.#onCall(call);
  }
}

function describeExit({ exitCode, stderr }: Pick<RunResult, "exitCode" | "stderr">): Partial<RecordedCall> {
  return { exitCode, ...(stderr === "" ? {} : { stderr: stderr.slice(0, excerptLength) }) };
}

function redact(operation: FileOperation): RecordedOperation {
  if (operation.op !== "write") return operation;
  const content = operation.secret === true ? secretMark : operation.content.slice(0, excerptLength);
  return { ...operation, content };
}

function describeError(error: unknown): RecordedError {
  if (!(error instanceof StorageError)) return { reason: "internal", message: error instanceof Error ? error.message : String(error) };
  const { reason, message } = error;
  if (error instanceof FileOperationError) return { reason, message, index: error.index, errno: error.errno };
  if (error instanceof CommandError) return { reason, message, outcome: error.outcome };
  return { reason, message };
}
