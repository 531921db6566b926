/** How long after a failure the next try waits: it doubles with each, so that a repair that cannot work blocks nobody. */
const firstMs = 10_000;
const maxMs = 600_000;

/** Who failed lately. Holds only those that fail. */
export class RetryLater<K> {
  readonly #failed = new Map<K, { readonly dueAt: number; readonly pauseMs: number }>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  isDue(key: K): boolean {
    const entry = this.#failed.get(key);
    return entry === undefined || this.#now() >= entry.dueAt;
  }

  failed(key: K): void {
    const pauseMs = Math.min((this.#failed.get(key)?.pauseMs ?? firstMs / 2) * 2, maxMs);
    this.#failed.set(key, { dueAt: this.#now() + pauseMs, pauseMs });
  }

  forget(key: K): void {
    this.#failed.delete(key);
  }
}
