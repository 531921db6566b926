interface Waiter {
  readonly start: () => void;
  readonly refuse: (error: unknown) => void;
}

/** A counted number of places and one queue for them, first come first served. */
export class Slots {
  #free: number;
  readonly #waiting: Waiter[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a place; throws the signal's reason when it aborts first. Whoever gets one calls release() once. */
  async acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    let waiter: Waiter | undefined;
    const leave = (): void => {
      if (waiter === undefined) return;
      const place = this.#waiting.indexOf(waiter);
      if (place === -1) return;
      this.#waiting.splice(place, 1);
      waiter.refuse(signal.reason);
    };
    try {
      await new Promise<void>((resolve, reject) => {
        waiter = { start: resolve, refuse: reject };
        this.#waiting.push(waiter);
        signal.addEventListener("abort", leave, { once: true });
      });
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next.start();
  }

  /** Sends everyone who waits away. Those who hold a place keep it. */
  refuseWaiting(error: unknown): void {
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(error);
  }
}
