import { setMaxListeners } from "node:events";
import type { Reason } from "@zfsilo/lib";
import { CommandError, type Outcome } from "./command-error.ts";
import type { Argv, CallOptions } from "./executor.ts";

export const defaultTimeoutMs = 30_000;

interface End {
  readonly reason: Reason;
  readonly cause: unknown;
}

/** When one call has to end although its command has not: the caller aborted, the time is up, or we are closing. */
export class CallLimit implements Disposable {
  /** Aborts at the limit. For waits that take a signal. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #host: string;
  readonly #argv: Argv;
  readonly #timer: NodeJS.Timeout;
  readonly #callerSignal: AbortSignal;
  #end: End | undefined;

  constructor(host: string, argv: Argv, options: CallOptions) {
    this.#host = host;
    this.#argv = argv;
    this.signal = this.#controller.signal;
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.#timer = setTimeout(() => {
      this.stop("timeout", new Error(`no end within ${timeoutMs} ms`));
    }, timeoutMs);
    // A plain listener and not AbortSignal.any: a caller's signal may live as long as the process, and each `any` made of
    // it stays referenced from it on Node 20.
    this.#callerSignal = options.signal;
    // Any number of calls may share a signal; each takes its listener away again, so Node's warning would be a false alarm.
    setMaxListeners(0, options.signal, this.signal);
    options.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (options.signal.aborted) this.#onAbort();
  }

  readonly #onAbort = (): void => {
    this.stop("aborted", this.#callerSignal.reason);
  };

  get over(): boolean {
    return this.#end !== undefined;
  }

  /** Ends the call with this reason, unless it is over already. */
  stop(reason: Reason, cause: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, cause };
    this.#controller.abort(cause);
  }

  /** The error of a call that is over. */
  failure(outcome: Outcome): CommandError {
    const { reason, cause } = this.#end ?? { reason: "internal", cause: new Error("the call was not over") };
    return new CommandError(reason, this.#host, this.#argv, outcome, cause);
  }

  throwIfOver(outcome: Outcome): void {
    if (this.over) throw this.failure(outcome);
  }

  /** Waits for `work`, or throws at the limit. `work` goes on by itself then; its failure is nobody's any more. */
  async race<T>(work: Promise<T>, outcome: Outcome): Promise<T> {
    let onAbort = (): void => undefined;
    const over = new Promise<never>((_resolve, reject) => {
      onAbort = (): void => {
        reject(this.failure(outcome));
      };
      if (this.signal.aborted) onAbort();
      else this.signal.addEventListener("abort", onAbort, { once: true });
    });
    try {
      return await Promise.race([over, work]);
    } finally {
      this.signal.removeEventListener("abort", onAbort);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#callerSignal.removeEventListener("abort", this.#onAbort);
  }
}
