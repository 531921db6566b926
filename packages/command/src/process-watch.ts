import { constants } from "node:os";
import type { RunResult } from "./executor.ts";

export const defaultMaxOutputBytes = 1024 * 1024;

/**
 * A process that has exited may leave a daemon behind that holds its output open (iscsiadm starts iscsid this way), so
 * end of file may never come. What is still in the pipes arrives well within this silence.
 */
const silenceAfterExitMs = 1_000;

/** Gathers what a running process says, from whatever carries it, into one result. */
export class ProcessWatch {
  /** Settles once: the exit, or why there is none. */
  readonly result: Promise<RunResult>;
  readonly #maxBytes: number;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  readonly #sizes = { stdout: 0, stderr: 0 };
  #resolve: (result: RunResult) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #exitCode: number | undefined;
  #silence: NodeJS.Timeout | undefined;

  constructor(maxOutputBytes: number = defaultMaxOutputBytes) {
    this.#maxBytes = maxOutputBytes;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // The caller may have stopped waiting (a time limit) before the process ends.
    this.result.catch(() => undefined);
  }

  readonly stdout = (chunk: Buffer): void => {
    this.#keep("stdout", this.#stdout, chunk);
  };

  readonly stderr = (chunk: Buffer): void => {
    this.#keep("stderr", this.#stderr, chunk);
  };

  /** A death by signal becomes 128 + its number, as every shell reports it. */
  readonly exit = (code: number | null, signal?: string | null): void => {
    const numbers: Readonly<Record<string, number>> = constants.signals;
    this.#exitCode ??= code ?? 128 + (numbers[signal ?? ""] ?? 0);
    this.#awaitSilence();
  };

  /** All output has arrived. Without an exit before it, `whenLost` says what that means. */
  close(whenLost: () => unknown): void {
    if (this.#exitCode === undefined) this.fail(whenLost());
    else this.#finish(this.#exitCode);
  }

  fail(error: unknown): void {
    clearTimeout(this.#silence);
    this.#reject(error);
  }

  #keep(name: "stdout" | "stderr", chunks: Buffer[], chunk: Buffer): void {
    this.#sizes[name] += chunk.length;
    if (this.#sizes[name] > this.#maxBytes) {
      this.fail(new OutputLimitError(name, this.#maxBytes));
      return;
    }
    chunks.push(chunk);
    if (this.#exitCode !== undefined) this.#awaitSilence();
  }

  #awaitSilence(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      if (this.#exitCode !== undefined) this.#finish(this.#exitCode);
    }, silenceAfterExitMs);
  }

  #finish(exitCode: number): void {
    clearTimeout(this.#silence);
    this.#resolve({
      exitCode,
      stdout: Buffer.concat(this.#stdout).toString("utf8"),
      stderr: Buffer.concat(this.#stderr).toString("utf8"),
    });
  }
}

export class OutputLimitError extends Error {
  constructor(stream: "stdout" | "stderr", maxBytes: number) {
    super(`more than ${maxBytes} bytes on ${stream}`);
    this.name = "OutputLimitError";
  }
}
