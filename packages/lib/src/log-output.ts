import { writeSync } from "node:fs";

/** A pipe whose reader is slow is waited for this often, this long each time, before the line is given up. */
const retries = 5;
const retryMs = 10;

/** Where log lines go. One that cannot be written is counted and lost: a full disk must not fail what is being logged. */
export class LogOutput {
  readonly #fd: number;
  #lost = 0;
  #problem: string | undefined;
  /** The line before broke off. */
  #broken = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Lines that were lost since the start. */
  get linesLost(): number {
    return this.#lost;
  }

  /** Why the last line could not be written, as a code of the system; undefined when it was. */
  get problem(): string | undefined {
    return this.#problem;
  }

  write(line: string): void {
    const bytes = Buffer.from(this.#broken ? `\n${line}` : line);
    let written = 0;
    try {
      while (written < bytes.length) written += this.#some(bytes.subarray(written));
      this.#problem = undefined;
      this.#broken = false;
    } catch (error) {
      this.#lost += 1;
      this.#problem = codeOf(error);
      this.#broken ||= written > 0;
    }
  }

  #some(bytes: Uint8Array): number {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return writeSync(this.#fd, bytes);
      } catch (error) {
        if (codeOf(error) !== "EAGAIN" || attempt >= retries || this.#problem === "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
      }
    }
  }
}

/** The log of this process. */
export const standardError = new LogOutput(2);

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
}
