import type { HostId } from "@zfsilo/lib";
import type { Machines } from "../machines/machines.ts";
import type { HostStore } from "../store/stores.ts";

export interface HostWatchOptions {
  readonly hosts: Pick<HostStore, "find">;
  readonly machines: Machines;
  /** A host that did not answer does so again. */
  readonly onBack: (id: HostId) => void;
  readonly probeEveryMs: number;
}

const probeTimeoutMs = 5_000;

/**
 * Knows which hosts do not answer, from what is run on them anyway, and asks those alone from time to time, so that a host
 * is put right as soon as it is back and not when the clock says so.
 */
export class HostWatch implements Disposable {
  readonly #options: HostWatchOptions;
  readonly #away = new Set<HostId>();
  readonly #timer: NodeJS.Timeout;
  #probing = false;

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => { void this.probe(); }, options.probeEveryMs);
    this.#timer.unref();
  }

  /** Something ran there, or could not. */
  seen(id: HostId, answered: boolean): void {
    if (!answered) this.#away.add(id);
    else if (this.#away.delete(id)) this.#options.onBack(id);
  }

  /** Asks each host that is away one small thing; the answer comes in through `seen`. */
  async probe(): Promise<void> {
    if (this.#probing) return;
    this.#probing = true;
    try {
      await Promise.all([...this.#away].map((id) => this.#ask(id)));
    } finally {
      this.#probing = false;
    }
  }

  async #ask(id: HostId): Promise<void> {
    try {
      const host = await this.#options.hosts.find(id);
      if (host === undefined) this.#away.delete(id);
      else await this.#options.machines.of(host).mounts.list({ signal: AbortSignal.timeout(probeTimeoutMs) });
    } catch {
      // Still away: what watches the executor has been told.
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
