import { batchArgv, checkArgv, checkFileOperations, checkSequence, CommandError, type Argv, type CallOptions, type Executor, type FileOperation, type FileResult, type PipeOptions, type PipeResult, type RunOptions, type RunResult, type Sequence, type StreamOptions } from "@zfsilo/command";
import { StorageError, type Logger } from "@zfsilo/lib";
import { refusedBatch, refusedCommand, RefusalError } from "../refusal.ts";
import { checkCommand } from "./commands.ts";
import { FilePolicy } from "./files.ts";
import { AllowedRoots } from "./paths.ts";

export interface GuardOptions {
  readonly allowedRoots: readonly string[];
  readonly log: Logger;
}

/** Lets through what the policy allows, all of a batch or nothing of it, and logs what it refuses. */
export class GuardedExecutor implements Executor {
  readonly #inner: Executor;
  readonly #log: Logger;
  readonly #roots: AllowedRoots;
  readonly #files: FilePolicy;

  constructor(inner: Executor, { allowedRoots, log }: GuardOptions) {
    this.#inner = inner;
    this.#log = log;
    this.#roots = new AllowedRoots(inner, allowedRoots);
    this.#files = new FilePolicy(inner, this.#roots);
  }

  get host(): string {
    return this.#inner.host;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    checkArgv(this.host, argv);
    await this.#guardCommand(argv, options);
    return await this.#inner.run(argv, options);
  }

  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    checkSequence(this.host, commands);
    for (const { argv } of commands) await this.#guardCommand(argv, options);
    return await this.#inner.sequence(commands, options);
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    await this.#guardPipe(producer, consumer, options);
    return await this.#inner.pipe(producer, consumer, options);
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    await this.#guardPipe(producer, consumer, options);
    yield* this.#inner.stream(producer, consumer, options);
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    checkFileOperations(operations);
    const check = async (): Promise<void> => {
      for (const operation of operations) await this.#files.check(operation, options.signal);
    };
    await this.#guard(batchArgv(operations), check, (cause) => refusedBatch(this.host, operations, cause));
    return await this.#inner.files(operations, options);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #guardPipe(producer: Argv, consumer: Argv, options: CallOptions): Promise<void> {
    for (const argv of [producer, consumer]) {
      checkArgv(this.host, argv);
      await this.#guardCommand(argv, options);
    }
  }

  #guardCommand(argv: Argv, { signal }: CallOptions): Promise<void> {
    return this.#guard(argv, () => checkCommand(argv, this.#roots, signal), (cause) => refusedCommand(this.host, argv, cause));
  }

  /** Looking whether something is allowed changes nothing, so a failure of that leaves nothing done either. */
  async #guard(argv: Argv, check: () => Promise<void>, refuse: (cause: RefusalError) => CommandError): Promise<void> {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof RefusalError)) throw notStarted(this.host, argv, error);
      const refused = refuse(error);
      this.#log.warn({ err: refused }, "refused what the control plane asked for");
      throw refused;
    }
  }
}

function notStarted(host: string, argv: Argv, error: unknown): unknown {
  return error instanceof StorageError ? new CommandError(error.reason, host, argv, "not_started", error) : error;
}
