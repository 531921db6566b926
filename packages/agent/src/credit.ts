/** Bytes that may be sent. Whoever sends takes turns with whoever gives. */
export class Credit {
  #bytes: number;
  #wake: () => void = () => undefined;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#wake();
  }

  /** Waits until some is left. It may be overdrawn by one piece: a piece is never split for it. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.#bytes <= 0) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener("abort", done);
          resolve();
        };
        this.#wake = done;
        signal.addEventListener("abort", done, { once: true });
      });
    }
    this.#bytes -= bytes;
  }
}
