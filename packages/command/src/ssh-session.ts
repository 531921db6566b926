import { setImmediate } from "node:timers/promises";
import { StorageError } from "@zfsilo/lib";
import type { CallLimit } from "./call-limit.ts";
import { CommandError, FileOperationError, StreamExitError } from "./command-error.ts";
import { missingProgramHint } from "./argv.ts";
import type { Argv, FileOperation, FileResult, RunOptions, RunResult, StreamOptions } from "./executor.ts";
import { batchArgv } from "./file-operations.ts";
import { FileWorker } from "./file-worker-client.ts";
import { GroupKiller } from "./group-killer.ts";
import { ProcessWatch } from "./process-watch.ts";
import { LoginShellError, MissingProgramError, RemoteProcess } from "./remote-process.ts";
import { ChannelRefusedError, type SshConnection } from "./ssh-connection.ts";
import { StreamWatch } from "./stream-watch.ts";

/** How long to wait for a command to tell its process group, so that it can be ended; longer, and it is left behind. */
const groupWaitMs = 2_000;

/** One connection and what lives on it. Ends with it. */
export class SshSession {
  readonly #host: string;
  readonly #connection: SshConnection;
  readonly #killer: GroupKiller;
  readonly #idleWorkers: FileWorker[] = [];
  #lostBy: Error | undefined;
  #users = 0;
  #retired = false;

  constructor(host: string, connection: SshConnection) {
    this.#host = host;
    this.#connection = connection;
    this.#killer = new GroupKiller(connection);
    void connection.lost.then((error) => {
      this.#lostBy = error;
    });
  }

  get lost(): Promise<Error> {
    return this.#connection.lost;
  }

  /** With `leash` standard input stays open until the program has ended. */
  async run(argv: Argv, options: RunOptions & { readonly leash?: boolean }, limit: CallLimit): Promise<RunResult> {
    const watch = new ProcessWatch(options.maxOutputBytes);
    const process = new RemoteProcess(this.#connection, {
      ...watchHandlers(watch),
      close: () => { void this.#onClose(watch, argv); },
    });
    process.started.catch((error: unknown) => {
      const failure = this.#startFailure(argv, error);
      if (failure !== undefined) watch.fail(failure);
    });
    return await this.#use(async () => {
      try {
        await limit.race(process.open(argv, limit.signal), "unknown");
        if (options.stdin !== undefined) process.write(options.stdin);
        if (options.leash !== true) process.end();
        const result = await limit.race(watch.result, "unknown");
        if (!process.begun) throw this.#startFailure(argv, new LoginShellError(result.stderr));
        return result;
      } catch (error) {
        if (!(error instanceof CommandError) || limit.over) await this.#endGroup(process.started);
        throw error instanceof CommandError ? error : this.#failure(argv, error);
      } finally {
        process.close();
      }
    });
  }

  /** The output of a pipe's script. Standard input stays open until it has ended. */
  async *stream(
    { argv, shown }: { readonly argv: Argv; readonly shown: Argv },
    options: StreamOptions,
    limit: CallLimit,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = new StreamWatch(this.#host, shown, options.maxWaitingBytes);
    const process = new RemoteProcess(this.#connection, {
      ...watchHandlers(watch),
      close: () => { void this.#onClose(watch, argv); },
    });
    watch.source = process;
    process.started.catch((error: unknown) => {
      const failure = this.#startFailure(argv, error);
      if (failure !== undefined) watch.fail(failure);
    });
    const stop = (): void => {
      watch.fail(limit.failure("unknown"));
      // At the limit, whether or not somebody waits for the next piece.
      void this.#endGroup(process.started);
    };
    limit.signal.addEventListener("abort", stop, { once: true });
    this.#users += 1;
    let over = false;
    try {
      await limit.race(process.open(argv, limit.signal), "unknown");
      for (;;) {
        const chunk = await limit.race(watch.next(), "unknown");
        if (chunk === undefined) break;
        yield chunk;
      }
      over = true;
    } catch (error) {
      over = error instanceof StreamExitError;
      throw error instanceof StorageError ? error : this.#failure(argv, error);
    } finally {
      limit.signal.removeEventListener("abort", stop);
      watch.abandon();
      if (!over) await this.#endGroup(process.started);
      process.close();
      this.#leave();
    }
  }

  async files(operations: readonly FileOperation[], limit: CallLimit): Promise<readonly FileResult[]> {
    return await this.#use(async () => {
      const worker = await this.#worker(operations, limit);
      try {
        const results = await worker.perform(this.#host, operations, limit);
        this.#idleWorkers.push(worker);
        return results;
      } catch (error) {
        if (error instanceof FileOperationError) {
          this.#idleWorkers.push(worker);
        } else {
          if (worker.alive) await this.#endGroup(worker.group);
          worker.close();
        }
        throw error;
      }
    });
  }

  /** Takes no more calls; the connection ends with the last one that runs. */
  retire(): void {
    this.#retired = true;
    if (this.#users === 0) this.#connection.end();
  }

  end(): void {
    this.#connection.end();
  }

  async #use<T>(work: () => Promise<T>): Promise<T> {
    this.#users += 1;
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    this.#users -= 1;
    if (this.#retired && this.#users === 0) this.#connection.end();
  }

  async #worker(operations: readonly FileOperation[], limit: CallLimit): Promise<FileWorker> {
    for (let idle = this.#idleWorkers.pop(); idle !== undefined; idle = this.#idleWorkers.pop()) {
      if (idle.alive) return idle;
    }
    const worker = new FileWorker(this.#connection);
    const argv = batchArgv(operations);
    try {
      await limit.race(worker.start(limit.signal), "not_started");
      return worker;
    } catch (error) {
      void this.#endGroup(worker.group).then(() => { worker.close(); });
      if (error instanceof CommandError) throw error;
      if (error instanceof MissingProgramError) {
        throw new CommandError("precondition", this.#host, argv, "not_started", error, missingProgramHint(this.#host, ["perl"]));
      }
      // Whatever kept the worker from starting, it had got no operation yet.
      throw this.#startFailure(argv, error) ?? this.#failure(argv, error, "not_started");
    }
  }

  async #endGroup(started: Promise<number>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => { resolve(undefined); }, groupWaitMs);
    });
    const group = await Promise.race([started.catch(() => undefined), tooLate]);
    clearTimeout(timer);
    if (group !== undefined) await this.#killer.end(group);
  }

  async #onClose(watch: Pick<ProcessWatch, "close">, argv: Argv): Promise<void> {
    // The channel of a lost connection may close just before the connection does.
    await setImmediate();
    watch.close(() => this.#failure(argv, this.#lostBy ?? new Error("the ssh server closed the channel without an exit status")));
  }

  /** What a program that did not begin means; undefined when that is not certain. */
  #startFailure(argv: Argv, error: unknown): CommandError | undefined {
    if (error instanceof MissingProgramError) {
      return new CommandError("precondition", this.#host, argv, "not_started", error, missingProgramHint(this.#host, argv));
    }
    if (error instanceof LoginShellError) {
      const hint = "Give the user we log in as a POSIX login shell (sh, dash, bash) that runs the commands it is sent.";
      return new CommandError("precondition", this.#host, argv, "not_started", error, hint);
    }
    return undefined;
  }

  #failure(argv: Argv, error: unknown, outcome: "not_started" | "unknown" = "unknown"): CommandError {
    if (error instanceof ChannelRefusedError) {
      if (!error.byServer) return new CommandError("unavailable", this.#host, argv, "not_started", error);
      const hint = "Raise MaxSessions in the host's sshd_config (10 is its default), and look for commands that hang there.";
      return new CommandError("unavailable", this.#host, argv, "not_started", error, hint);
    }
    const reason = error instanceof Error && error.name === "OutputLimitError" ? "internal" : "unavailable";
    return new CommandError(reason, this.#host, argv, outcome, error);
  }
}

function watchHandlers(watch: ProcessWatch | StreamWatch) {
  return { stdout: watch.stdout, stderr: watch.stderr, exit: watch.exit };
}
