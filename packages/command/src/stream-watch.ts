import { constants } from "node:os";
import { StreamExitError } from "./command-error.ts";
import type { Argv } from "./executor.ts";

const defaultMaxWaitingBytes = 1024 * 1024;
/** More of standard error is dropped: what a failing tool has to say stands at its start. */
const maxStderrBytes = 64 * 1024;

/** Where output comes from, and can be held up. */
export interface OutputSource {
  pause(): void;
  resume(): void;
}

/** Hands the output of a running program on to one reader, whatever carries it, and holds it up while the reader is behind. */
export class StreamWatch {
  readonly #host: string;
  readonly #argv: Argv;
  readonly #maxBytes: number;
  readonly #waiting: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  #waitingBytes = 0;
  #stderrBytes = 0;
  #source: OutputSource | undefined;
  #exitCode: number | undefined;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  constructor(host: string, argv: Argv, maxWaitingBytes: number = defaultMaxWaitingBytes) {
    this.#host = host;
    this.#argv = argv;
    this.#maxBytes = maxWaitingBytes;
  }

  /** Output may have come before. */
  set source(source: OutputSource) {
    this.#source = source;
    if (this.#waitingBytes >= this.#maxBytes) source.pause();
  }

  readonly stdout = (chunk: Buffer): void => {
    if (this.#ended) return;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= this.#maxBytes) this.#source?.pause();
    this.#wake();
  };

  readonly stderr = (chunk: Buffer): void => {
    if (this.#stderrBytes >= maxStderrBytes) return;
    this.#stderr.push(chunk);
    this.#stderrBytes += chunk.length;
  };

  readonly exit = (code: number | null, signal?: string | null): void => {
    const numbers: Readonly<Record<string, number>> = constants.signals;
    this.#exitCode ??= code ?? 128 + (numbers[signal ?? ""] ?? 0);
  };

  /** All output has arrived. Without an exit before it, `whenLost` says what that means. */
  close(whenLost: () => unknown): void {
    if (this.#exitCode === undefined) this.fail(whenLost());
    this.#ended = true;
    this.#wake();
  }

  /** What waits is not given out any more. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure ??= { error };
    this.#ended = true;
    this.#drop();
    this.#wake();
  }

  /** The next piece; undefined after the last one of a program that exited with 0. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const chunk = this.#waiting.shift();
    if (chunk !== undefined) {
      this.#waitingBytes -= chunk.length;
      if (this.#waitingBytes < this.#maxBytes) this.#source?.resume();
      return chunk;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#exitCode === 0) return undefined;
    throw new StreamExitError(this.#host, this.#argv, this.#exitCode ?? -1, Buffer.concat(this.#stderr).toString("utf8"));
  }

  /** Nobody reads any more: what still comes is dropped, so that the program does not wait for ever. */
  abandon(): void {
    this.#ended = true;
    this.#drop();
    this.#source?.resume();
  }

  #drop(): void {
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
  }
}
