import type { Argv, CallOptions, Executor, FileOperation, FileResult, PipeOptions, PipeResult, RunOptions, RunResult, Sequence, StreamOptions } from "@zfsilo/command";
import type { HostId } from "@zfsilo/lib";
import { GivenUpError } from "@zfsilo/try";
import { AsyncLocalStorage } from "node:async_hooks";

/** Hosts that a piece of work goes on without. What it runs there ends at once, and nothing more of it is run there. */
export class GivenUpHosts {
  readonly #ends = new Map<HostId, AbortController>();

  add(host: HostId): void {
    this.#endOf(host).abort();
  }

  /** Aborts when the host is given up. */
  signalOf(host: HostId): AbortSignal {
    return this.#endOf(host).signal;
  }

  #endOf(host: HostId): AbortController {
    const end = this.#ends.get(host) ?? new AbortController();
    this.#ends.set(host, end);
    return end;
  }
}

const current = new AsyncLocalStorage<GivenUpHosts>();

/** Whatever `work` runs on hosts, however deep in the wrappers, heeds which of them are given up. */
export function withoutHosts<T>(hosts: GivenUpHosts, work: () => Promise<T>): Promise<T> {
  return current.run(hosts, work);
}

/** Passes everything on, until the work that asks for it gives the host up. */
export class GivenUpExecutor implements Executor {
  readonly #id: HostId;
  readonly #inner: Executor;

  constructor(id: HostId, inner: Executor) {
    this.#id = id;
    this.#inner = inner;
  }

  get host(): string {
    return this.#inner.host;
  }

  run(argv: Argv, options: RunOptions): Promise<RunResult> {
    return this.#heeding(options, (heeding) => this.#inner.run(argv, heeding));
  }

  sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return this.#heeding(options, (heeding) => this.#inner.sequence(commands, heeding));
  }

  pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    return this.#heeding(options, (heeding) => this.#inner.pipe(producer, consumer, heeding));
  }

  files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    return this.#heeding(options, (heeding) => this.#inner.files(operations, heeding));
  }

  /** Only reads, and for a caller of its own: nobody gives its host up. */
  stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncIterable<Uint8Array> {
    return this.#inner.stream(producer, consumer, options);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #heeding<O extends CallOptions, T>(options: O, work: (options: O) => Promise<T>): Promise<T> {
    const end = current.getStore()?.signalOf(this.#id);
    if (end === undefined) return work(options);
    if (end.aborted) throw new GivenUpError(`hosts/${this.#id}`);
    try {
      return await work({ ...options, signal: AbortSignal.any([options.signal, end]) });
    } catch (error) {
      throw this.#reason(end, error);
    }
  }

  #reason(end: AbortSignal, error: unknown): unknown {
    return end.aborted ? new GivenUpError(`hosts/${this.#id}`, error) : error;
  }
}
