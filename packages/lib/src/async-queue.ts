/** Values pushed from anywhere, in order, to the one who iterates. Nothing bounds it: whoever pushes has its own limit. */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  /** False when it has ended: the value goes nowhere. */
  push(value: T): boolean {
    if (this.#ended) return false;
    this.#values.push(value);
    this.#wake();
    return true;
  }

  /** What was pushed before is still given out. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const next = this.#values.shift();
        if (next !== undefined) yield next;
        else if (this.#ended) return;
        else await this.#pushed();
      }
    } finally {
      // Nobody reads any more: values must not pile up.
      this.#ended = true;
      this.#values.length = 0;
    }
  }

  #pushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
