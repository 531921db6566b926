import { spawn, type ChildProcess } from "node:child_process";
import { hostname } from "node:os";
import type { Reason } from "@zfsilo/lib";
import { CallLimit } from "./call-limit.ts";
import { CommandError, FileOperationError, StreamExitError } from "./command-error.ts";
import { checkArgv, missingProgramHint } from "./argv.ts";
import { errnoOf } from "./errno.ts";
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
import { performFileOperation } from "./local-files.ts";
import { parsePipeResult, pipeArgv, pipeError, shownPipe, streamArgv } from "./pipe-script.ts";
import { endProcessGroup } from "./process-group.ts";
import { ProcessWatch } from "./process-watch.ts";
import { inTurn } from "./sequence.ts";
import { StreamWatch } from "./stream-watch.ts";
import { systemPath } from "./system-path.ts";

/** Acts on the machine this process runs on. */
export class LocalExecutor implements Executor {
  readonly host: string;
  readonly #calls = new Set<CallLimit>();
  #closed = false;

  constructor(host: string = hostname()) {
    this.host = host;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    using limit = this.#begin(argv, options);
    try {
      checkArgv(this.host, argv);
      limit.throwIfOver("not_started");
      return await this.#runChild(argv, options, limit);
    } finally {
      this.#calls.delete(limit);
    }
  }

  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return await inTurn(this.host, commands, options, (argv, limits) => this.run(argv, limits));
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    const shown = shownPipe(producer, consumer);
    using limit = this.#begin(shown, options);
    try {
      checkArgv(this.host, shown);
      limit.throwIfOver("not_started");
      const result = await this.#runChild(pipeArgv(producer, consumer), { ...options, leash: true }, limit);
      return parsePipeResult(this.host, shown, result);
    } catch (error) {
      throw pipeError(error, this.host, shown);
    } finally {
      this.#calls.delete(limit);
    }
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const shown = shownPipe(producer, consumer);
    using limit = this.#begin(shown, options);
    try {
      checkArgv(this.host, shown);
      limit.throwIfOver("not_started");
      yield* this.#streamChild({ argv: streamArgv(producer, consumer), shown }, options, limit);
    } catch (error) {
      throw pipeError(error, this.host, shown);
    } finally {
      this.#calls.delete(limit);
    }
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    checkFileOperations(operations);
    using limit = this.#begin(batchArgv(operations), options);
    try {
      const results: FileResult[] = [];
      for (const [index, operation] of operations.entries()) {
        limit.throwIfOver(index === 0 ? "not_started" : "unknown");
        results.push(await limit.race(this.#perform(operation, index), "unknown"));
      }
      return results;
    } finally {
      this.#calls.delete(limit);
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.stop("unavailable", new Error("the executor was closed"));
    return Promise.resolve();
  }

  #begin(argv: Argv, options: CallOptions): CallLimit {
    if (this.#closed) {
      throw new CommandError("unavailable", this.host, argv, "not_started", new Error("the executor is closed"));
    }
    const limit = new CallLimit(this.host, argv, options);
    this.#calls.add(limit);
    return limit;
  }

  /** Standard input stays open until the script of the pipe has ended. */
  async *#streamChild(
    { argv, shown }: { readonly argv: Argv; readonly shown: Argv },
    options: StreamOptions,
    limit: CallLimit,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = new StreamWatch(this.host, shown, options.maxWaitingBytes);
    const child = this.#spawn(argv);
    child.once("error", (error) => {
      watch.fail(this.#spawnError(argv, error));
    });
    connect(child, watch, undefined);
    if (child.stdout !== null) watch.source = child.stdout;
    const stop = (): void => {
      watch.fail(limit.failure("unknown"));
      // At the limit, whether or not somebody waits for the next piece.
      if (child.pid !== undefined) void endProcessGroup(child.pid);
    };
    limit.signal.addEventListener("abort", stop, { once: true });
    let over = false;
    try {
      for (;;) {
        const chunk = await watch.next();
        if (chunk === undefined) break;
        yield chunk;
      }
      over = true;
    } catch (error) {
      over = error instanceof StreamExitError;
      throw error;
    } finally {
      limit.signal.removeEventListener("abort", stop);
      watch.abandon();
      if (!over && child.pid !== undefined) await endProcessGroup(child.pid);
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
    }
  }

  /** With `leash` standard input stays open until the program has ended. */
  async #runChild(argv: Argv, options: RunOptions & { readonly leash?: boolean }, limit: CallLimit): Promise<RunResult> {
    const watch = new ProcessWatch(options.maxOutputBytes);
    const child = this.#spawn(argv);
    child.once("error", (error) => {
      watch.fail(this.#spawnError(argv, error));
    });
    connect(child, watch, options.leash === true ? undefined : (options.stdin ?? ""));
    try {
      return await limit.race(watch.result, "unknown");
    } catch (error) {
      if (child.pid === undefined) throw error;
      await endProcessGroup(child.pid);
      if (error instanceof CommandError) throw error;
      throw new CommandError("internal", this.host, argv, "unknown", error);
    } finally {
      child.stdin?.destroy();
      child.stdout?.destroy();
      child.stderr?.destroy();
    }
  }

  /** Node reports some failures by an event and throws others here, among them an argument list that is too long. */
  #spawn([program, ...args]: Argv): ChildProcess {
    try {
      return spawn(program, args, {
        detached: true, // its own session and process group, so that all it starts can be ended with it
        // The user database is not asked: a container may have none, and os.homedir() throws there.
        env: { LC_ALL: "C", TZ: "UTC", PATH: systemPath, HOME: process.env["HOME"] ?? "/" },
        stdio: ["pipe", "pipe", "pipe"],
      });
    } catch (error) {
      throw this.#spawnError([program, ...args], error);
    }
  }

  async #perform(operation: FileOperation, index: number): Promise<FileResult> {
    try {
      return await performFileOperation(operation);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      if (operation.tolerate?.includes(errno) === true) return { errno };
      throw new FileOperationError(this.host, index, operation, errno);
    }
  }

  #spawnError(argv: Argv, error: unknown): CommandError {
    const errno = errnoOf(error) ?? "";
    const hint = missing.has(errno) ? missingProgramHint(this.host, argv) : undefined;
    return new CommandError(spawnReasons[errno] ?? "internal", this.host, argv, "not_started", error, hint);
  }
}

const missing = new Set(["ENOENT", "ENOTDIR", "EACCES"]);

/** Never `not_found`: a missing tool must not look like a missing volume. */
const spawnReasons: Readonly<Record<string, Reason>> = {
  ENOENT: "precondition",
  ENOTDIR: "precondition",
  EACCES: "precondition",
  E2BIG: "invalid_argument",
  EAGAIN: "unavailable",
  ENOMEM: "unavailable",
  EMFILE: "unavailable",
};

/** Without `stdin` its standard input stays open. The streams are missing when Node had no file descriptor left for them; the "error" event follows then. */
function connect(child: ChildProcess, watch: ProcessWatch | StreamWatch, stdin: string | undefined): void {
  child.stdout?.on("data", watch.stdout);
  child.stderr?.on("data", watch.stderr);
  child.once("exit", watch.exit);
  child.once("close", () => {
    watch.close(() => new Error("no exit status"));
  });
  // A program may end without reading its input (EPIPE): its exit tells the rest.
  child.stdin?.on("error", () => undefined);
  if (stdin !== undefined) child.stdin?.end(stdin);
}
