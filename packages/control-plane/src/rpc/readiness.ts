import type { LogOutput } from "@zfsilo/lib";

export type ReadinessListener = (ready: boolean) => void;

/** What readiness hangs on besides the start and the stop. */
export interface ReadinessSources {
  /** Why nothing can be stored; undefined while it can. */
  databaseProblem(): string | undefined;
  /** Whether log lines can be written. What is lost does not make a server useless. */
  readonly log: Pick<LogOutput, "linesLost" | "problem">;
  /** How many operations have not ended, and how many of those are stuck. */
  openOperations(): Promise<{ readonly open: number; readonly stuck: number }>;
}

const always: ReadinessSources = {
  databaseProblem: () => undefined,
  log: { linesLost: 0, problem: undefined },
  openOperations: () => Promise.resolve({ open: 0, stuck: 0 }),
};

/** Whether calls can do their work: from the end of the start until the stop begins, while the database can be used. */
export class Readiness {
  readonly #listeners = new Set<ReadinessListener>();
  readonly #sources: ReadinessSources;
  #open = false;
  #told = false;

  constructor(sources: ReadinessSources = always) {
    this.#sources = sources;
  }

  get ready(): boolean {
    return this.#open && this.#sources.databaseProblem() === undefined;
  }

  set(open: boolean): void {
    this.#open = open;
    this.check();
  }

  /** Tells listeners when it has changed since. Called from time to time, because a database says nothing by itself. */
  check(): void {
    const { ready } = this;
    if (ready === this.#told) return;
    this.#told = ready;
    for (const listener of this.#listeners) listener(ready);
  }

  /** For people and probes: the first line says it all. Names nothing and nobody, being open to all. */
  async describe(): Promise<string> {
    const { open, stuck } = await this.#sources.openOperations().catch(() => ({ open: "unknown", stuck: "unknown" }));
    return [
      this.ready ? "ok" : "not ready",
      `database: ${this.#sources.databaseProblem() ?? "writable"}`,
      `log: ${this.#log()}`,
      `open operations: ${open}`,
      `stuck operations: ${stuck}`,
      "",
    ].join("\n");
  }

  #log(): string {
    const { linesLost, problem } = this.#sources.log;
    const state = problem === undefined ? "writable" : `cannot be written (${problem})`;
    return linesLost === 0 ? state : `${state}, ${linesLost} lines lost`;
  }

  /** Calls `listener` on each change until the returned function is called. */
  subscribe(listener: ReadinessListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
