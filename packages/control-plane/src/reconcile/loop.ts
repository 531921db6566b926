import type { Logger } from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import type { CycleResult } from "./findings.ts";
import type { Reconciler } from "./reconciler.ts";

/** Told of each cycle, for metrics. */
export interface CycleObserver {
  cycle(outcome: "ok" | "failed", seconds: number): void;
}

export interface ReconcileLoopOptions {
  readonly reconciler: Pick<Reconciler, "cycle">;
  /** 0: it never runs by itself. */
  readonly intervalMs: number;
  readonly log: Logger;
  readonly observer?: CycleObserver;
  readonly onCycle?: (result: CycleResult) => void;
}

/** After a cycle hosts get at least this long before the next, however many events ask for one. */
const restMs = 1_000;

/** Who waits for the control plane to be ready is answered before a first look at thousands of volumes takes the processor. */
const firstAfterMs = 100;

/** Cycles one after the other: at the start, by the clock, and when something says that there may be work. */
export class ReconcileLoop {
  readonly #options: ReconcileLoopOptions;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #first: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #asked = false;

  constructor(options: ReconcileLoopOptions) {
    this.#options = options;
  }

  start(): void {
    const { intervalMs } = this.#options;
    if (intervalMs === 0) return;
    this.#timer = setInterval(() => { this.request(); }, intervalMs);
    this.#timer.unref();
    this.#first = setTimeout(() => { this.request(); }, firstAfterMs);
    this.#first.unref();
  }

  /** Asks for a cycle. One that runs now may have looked already: then another follows it. */
  request(): void {
    if (this.#options.intervalMs === 0 || this.#stop.signal.aborted) return;
    this.#asked = true;
    this.#running ??= this.#run();
  }

  /** Resolves when nothing runs any more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#first);
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#asked && !this.#stop.signal.aborted) {
      this.#asked = false;
      await this.#cycle();
      await sleep(restMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
    }
    this.#running = undefined;
  }

  async #cycle(): Promise<void> {
    const { reconciler, log, observer, onCycle } = this.#options;
    const began = performance.now();
    const seconds = (): number => (performance.now() - began) / 1000;
    try {
      const result = await reconciler.cycle({}, this.#stop.signal);
      observer?.cycle("ok", seconds());
      onCycle?.(result);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      observer?.cycle("failed", seconds());
      log.error({ err: error }, "reconcile cycle failed; the next one tries again");
    }
  }
}
