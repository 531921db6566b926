import { setTimeout as sleep } from "node:timers/promises";
import type { Argv } from "./executor.ts";
import { remoteCommandLine, startMarker } from "./quote.ts";
import { ChannelRefusedError, type SshChannel, type SshChannelHandlers, type SshConnection } from "./ssh-connection.ts";

/**
 * A channel we closed counts against the server's MaxSessions until its process is reaped, so a refusal is usually over
 * soon. About 1.5 s in all.
 */
const refusedPausesMs = [20, 50, 100, 200, 400, 800];

/** The most a login shell may print (from .bashrc and the like) before our own first line. */
const maxPreambleBytes = 64 * 1024;

/** There is no such program on the host: nothing ran. */
export class MissingProgramError extends Error {
  constructor() {
    super("no such program");
    this.name = "MissingProgramError";
  }
}

/** The login shell ended, or talked on, without running our line: nothing ran. */
export class LoginShellError extends Error {
  constructor(output: string) {
    super(`the login shell did not run the command: ${JSON.stringify(output.slice(0, 200))}`);
    this.name = "LoginShellError";
  }
}

/** One program on the other end of an ssh connection, and the process group it leads there. */
export class RemoteProcess {
  /**
   * The process group, as soon as the program is about to run. Rejects with MissingProgramError or LoginShellError when
   * it certainly did not run, and with the connection's error when nobody knows.
   */
  readonly started: Promise<number>;
  #resolveStarted: (group: number) => void = () => undefined;
  #rejectStarted: (error: unknown) => void = () => undefined;
  #preamble: Buffer[] | undefined = [];
  #channel: SshChannel | undefined;
  #exited = false;
  #abandoned = false;
  #begun = false;
  readonly #connection: SshConnection;
  readonly #handlers: SshChannelHandlers;

  /** `handlers.stdout` sees only what the program itself prints. */
  constructor(connection: SshConnection, handlers: SshChannelHandlers) {
    this.#connection = connection;
    this.#handlers = handlers;
    this.started = new Promise((resolve, reject) => {
      this.#resolveStarted = resolve;
      this.#rejectStarted = reject;
    });
    this.started.catch(() => undefined);
  }

  /** Sends the command. Throws ChannelRefusedError when the server took it neither now nor after some more tries. */
  async open(argv: Argv, signal: AbortSignal): Promise<void> {
    const line = remoteCommandLine(argv);
    for (const pauseMs of [...refusedPausesMs, undefined]) {
      try {
        this.#channel = await this.#connection.open(line, {
          stdout: (chunk) => { this.#stdout(chunk); },
          stderr: (chunk) => { this.#handlers.stderr(chunk); },
          exit: (code, name) => {
            this.#exited = true;
            this.#handlers.exit(code, name);
          },
          close: () => { this.#close(); },
        });
        if (this.#abandoned) this.#channel.close();
        return;
      } catch (error) {
        if (!(error instanceof ChannelRefusedError && error.byServer) || pauseMs === undefined) {
          this.#rejectStarted(error);
          throw error;
        }
        await sleep(pauseMs, undefined, { signal });
      }
    }
  }

  /** The program has begun; without that, what came is the login shell's. */
  get begun(): boolean {
    return this.#begun;
  }

  write(data: string): void {
    this.#channel?.write(data);
  }

  /** End of standard input. */
  end(): void {
    this.#channel?.end();
  }

  /** Lets go of the channel; what runs there goes on. */
  close(): void {
    this.#abandoned = true;
    this.#channel?.close();
  }

  pause(): void {
    this.#channel?.pause();
  }

  resume(): void {
    this.#channel?.resume();
  }

  #stdout(chunk: Buffer): void {
    if (this.#preamble === undefined) {
      this.#handlers.stdout(chunk);
      return;
    }
    this.#preamble.push(chunk);
    const seen = Buffer.concat(this.#preamble);
    const text = seen.toString("latin1");
    const found = startLine.exec(text);
    if (found === null) {
      if (seen.length > maxPreambleBytes) this.#rejectStarted(new LoginShellError(text));
      return;
    }
    this.#preamble = undefined;
    if (found[1] === "-") this.#rejectStarted(new MissingProgramError());
    else {
      this.#begun = true;
      this.#resolveStarted(Number(found[1]));
    }
    const rest = seen.subarray(found.index + found[0].length);
    if (rest.length > 0) this.#handlers.stdout(rest);
  }

  #close(): void {
    // Our first line comes before the program: a session that ended by itself without it never reached the program.
    const silent = this.#preamble === undefined ? "" : Buffer.concat(this.#preamble).toString("utf8");
    this.#rejectStarted(this.#exited ? new LoginShellError(silent) : new Error("the channel closed before the command began"));
    this.#handlers.close();
  }
}

const startLine = new RegExp(`^${startMarker}(\\d+|-)\\n`, "m");
