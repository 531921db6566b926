import { checkArgv } from "./argv.ts";
import { CallLimit } from "./call-limit.ts";
import { CommandError } from "./command-error.ts";
import type {
  Argv,
  CallOptions,
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
import { batchArgv, checkFileOperations } from "./file-operations.ts";
import { parsePipeResult, pipeArgv, pipeError, shownPipe, streamArgv } from "./pipe-script.ts";
import { defaultMaxOutputBytes } from "./process-watch.ts";
import { remoteCommandLine } from "./quote.ts";
import { markBytes, parseSequence, sequenceScript } from "./sequence-script.ts";
import { checkSequence, sequenceError } from "./sequence.ts";
import { Slots } from "./slots.ts";
import { SshConnectError, type SshConnector } from "./ssh-connection.ts";
import { SshSession } from "./ssh-session.ts";
import { connectSsh, type SshTarget } from "./ssh2-connection.ts";

/**
 * Channels we use at once on one connection. sshd's MaxSessions is 10 unless configured and it refuses the eleventh:
 * 5 commands, 2 streams or pipes, which may last for hours, 2 file workers, and 1 kept free for ending the others.
 */
const maxCommands = 5;
const maxStreams = 2;
const maxBatches = 2;

/** Linux takes no single argument above 128 KiB (MAX_ARG_STRLEN), and the login shell gets our line as one. */
const maxLineBytes = 128 * 1024 - 1;

/**
 * Acts on a host over one kept ssh connection, made at the first call and made again at the first call after a loss.
 * Nothing has to be installed there but perl-base (for files) and a POSIX login shell.
 */
export class SshExecutor implements Executor {
  readonly host: string;
  readonly #connect: SshConnector;
  readonly #commands = new Slots(maxCommands);
  readonly #streams = new Slots(maxStreams);
  readonly #batches = new Slots(maxBatches);
  readonly #calls = new Set<CallLimit>();
  #session: Promise<SshSession> | undefined;
  #closed = false;

  /** `host` is what errors and logs call it. */
  constructor(host: string, target: SshTarget | SshConnector) {
    this.host = host;
    this.#connect = typeof target === "function" ? target : () => connectSsh(target);
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    this.#checkLine(argv);
    return await this.#call(this.#commands, argv, options, (session, limit) => session.run(argv, options, limit));
  }

  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    checkSequence(this.host, commands);
    const script = sequenceScript(commands);
    const limits = { ...options, maxOutputBytes: (options.maxOutputBytes ?? defaultMaxOutputBytes) + commands.length * markBytes };
    const work = (session: SshSession, limit: CallLimit) => session.run(script.argv, limits, limit);
    let output: RunResult;
    try {
      this.#checkLine(script.argv);
      output = await this.#call(this.#commands, script.argv, options, work);
    } catch (error) {
      throw sequenceError(error, this.host, commands, 0);
    }
    return parseSequence(this.host, commands, script, output);
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    checkArgv(this.host, producer);
    checkArgv(this.host, consumer);
    const argv = pipeArgv(producer, consumer);
    const shown = shownPipe(producer, consumer);
    this.#checkLine(argv);
    const work = (session: SshSession, limit: CallLimit) => session.run(argv, { ...options, leash: true }, limit);
    try {
      return parsePipeResult(this.host, shown, await this.#call(this.#streams, argv, options, work));
    } catch (error) {
      throw pipeError(error, this.host, shown);
    }
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    checkArgv(this.host, producer);
    checkArgv(this.host, consumer);
    const argv = streamArgv(producer, consumer);
    const shown = shownPipe(producer, consumer);
    this.#checkLine(argv);
    using limit = new CallLimit(this.host, shown, options);
    this.#calls.add(limit);
    try {
      await this.#takePlace(this.#streams, shown, limit);
      try {
        const session = await limit.race(this.#currentSession(shown), "not_started");
        yield* session.stream({ argv, shown }, options, limit);
      } finally {
        this.#streams.release();
      }
    } catch (error) {
      throw pipeError(error, this.host, shown);
    } finally {
      this.#calls.delete(limit);
    }
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    checkFileOperations(operations);
    if (operations.length === 0) return [];
    return await this.#call(this.#batches, batchArgv(operations), options, (session, limit) => session.files(operations, limit));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new Error("the executor was closed");
    this.#commands.refuseWaiting(error);
    this.#streams.refuseWaiting(error);
    this.#batches.refuseWaiting(error);
    const session = await this.#session?.catch(() => undefined);
    session?.end();
    for (const call of this.#calls) call.stop("unavailable", error);
  }

  async #call<T>(
    slots: Slots,
    argv: Argv,
    options: CallOptions,
    work: (session: SshSession, limit: CallLimit) => Promise<T>,
  ): Promise<T> {
    using limit = new CallLimit(this.host, argv, options);
    this.#calls.add(limit);
    try {
      await this.#takePlace(slots, argv, limit);
      try {
        const session = await limit.race(this.#currentSession(argv), "not_started");
        return await this.#withSession(session, () => work(session, limit));
      } finally {
        slots.release();
      }
    } finally {
      this.#calls.delete(limit);
    }
  }

  #checkLine(argv: Argv): void {
    checkArgv(this.host, argv);
    if (Buffer.byteLength(remoteCommandLine(argv)) <= maxLineBytes) return;
    const cause = new Error(`the quoted command is longer than ${maxLineBytes} bytes`);
    throw new CommandError("invalid_argument", this.host, argv, "not_started", cause);
  }

  async #takePlace(slots: Slots, argv: Argv, limit: CallLimit): Promise<void> {
    try {
      await slots.acquire(limit.signal);
    } catch (error) {
      if (limit.over) throw limit.failure("not_started");
      throw this.#unreachable(argv, error);
    }
  }

  /** A connection whose server opens no more channels, because commands hang there, is left to them. */
  async #withSession<T>(session: SshSession, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof CommandError && isCausedBy(error, "ChannelRefusedError")) {
        if ((await this.#session?.catch(() => undefined)) === session) this.#session = undefined;
        session.retire();
      }
      throw error;
    }
  }

  async #currentSession(argv: Argv): Promise<SshSession> {
    if (this.#closed) throw this.#unreachable(argv, new Error("the executor is closed"));
    this.#session ??= this.#newSession();
    try {
      return await this.#session;
    } catch (error) {
      throw this.#unreachable(argv, error);
    }
  }

  #newSession(): Promise<SshSession> {
    const opening = this.#connect().then((connection) => {
      const session = new SshSession(this.host, connection);
      if (this.#closed) session.end();
      void session.lost.then(() => {
        this.#forget(opening);
      });
      return session;
    });
    opening.catch((error: unknown) => {
      this.#forget(opening);
      // Those who wait for a place would each try the same again, one after the other.
      this.#commands.refuseWaiting(error);
      this.#streams.refuseWaiting(error);
      this.#batches.refuseWaiting(error);
    });
    return opening;
  }

  #forget(session: Promise<SshSession>): void {
    if (this.#session === session) this.#session = undefined;
  }

  #unreachable(argv: Argv, error: unknown): CommandError {
    const hint = error instanceof SshConnectError ? error.hint : undefined;
    return new CommandError("unavailable", this.host, argv, "not_started", error, hint);
  }
}

function isCausedBy(error: Error, name: string): boolean {
  return error.name === name || (error.cause instanceof Error && isCausedBy(error.cause, name));
}
