import { CommandError, type Argv, type CallOptions } from "@zfsilo/command";
import type { Reason } from "@zfsilo/lib";

const defaultTimeoutMs = 30_000;

/** One call in flight: what may end it while it waits. Calls that do not wait never start a timer. */
export class Call {
  readonly #host: string;
  readonly #argv: Argv;
  readonly #options: CallOptions;
  readonly #closing: AbortSignal;
  #waitedMs = 0;

  constructor(host: string, argv: Argv, options: CallOptions, closing: AbortSignal) {
    this.#host = host;
    this.#argv = argv;
    this.#options = options;
    this.#closing = closing;
  }

  /** Throws if the caller aborted, or the executor closed, before anything began. */
  begin(): void {
    if (this.#options.signal.aborted) throw this.error("aborted", "not_started", this.#options.signal.reason);
    if (this.#closing.aborted) throw this.error("unavailable", "not_started", new Error("the executor is closed"));
  }

  /** Throws if it has to end although there is more to come. */
  goOn(): void {
    if (this.#options.signal.aborted) throw this.error("aborted", "unknown", this.#options.signal.reason);
    if (this.#closing.aborted) throw this.error("unavailable", "unknown", new Error("the executor was closed"));
  }

  error(reason: Reason, outcome: CommandError["outcome"], cause: unknown, hint?: string): CommandError {
    return new CommandError(reason, this.#host, this.#argv, outcome, cause, hint);
  }

  lost(): CommandError {
    return this.error("unavailable", "unknown", new Error("the connection was lost"));
  }

  /** Waits, at most until the limit, the caller's signal or the executor's end, which all throw. */
  async wait(ms: number): Promise<void> {
    const { signal, timeoutMs = defaultTimeoutMs } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => {
          end(ms <= timeoutMs ? undefined : this.error("timeout", "unknown", new Error(`no end within ${timeoutMs} ms`)));
        },
        Math.min(ms, timeoutMs),
      );
      const onAbort = (): void => {
        end(this.error("aborted", "unknown", signal.reason));
      };
      const onClose = (): void => {
        end(this.error("unavailable", "unknown", new Error("the executor was closed")));
      };
      const end = (error: CommandError | undefined): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#closing.removeEventListener("abort", onClose);
        if (error === undefined) resolve();
        else reject(error);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#closing.addEventListener("abort", onClose, { once: true });
      if (signal.aborted) onAbort();
      if (this.#closing.aborted) onClose();
    });
  }

  /** One of several waits, which all together have to end within the limit. */
  async waitMore(ms: number): Promise<void> {
    this.#waitedMs += ms;
    const { timeoutMs = defaultTimeoutMs } = this.#options;
    if (this.#waitedMs > timeoutMs) throw this.error("timeout", "unknown", new Error(`no end within ${timeoutMs} ms`));
    await this.wait(ms);
  }

  /** For ever: ends by throwing. */
  async hang(): Promise<never> {
    await this.wait(Number.POSITIVE_INFINITY);
    throw this.error("internal", "unknown", new Error("an endless wait ended"));
  }
}
