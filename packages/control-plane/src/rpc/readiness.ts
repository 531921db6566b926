export type ReadinessListener = (ready: boolean) => void;

/** Whether calls can do their work: from the end of the start until the stop begins. */
export class Readiness {
  readonly #listeners = new Set<ReadinessListener>();
  #ready = false;

  get ready(): boolean {
    return this.#ready;
  }

  set(ready: boolean): void {
    if (ready === this.#ready) return;
    this.#ready = ready;
    for (const listener of this.#listeners) listener(ready);
  }

  /** Calls `listener` on each change until the returned function is called. */
  subscribe(listener: ReadinessListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
