import { BugError } from "@zfsilo/lib";
import { performance } from "node:perf_hooks";
import { summarize, type Summary } from "./statistics.ts";

/** What is timed, by name. A name may stand several times in a round; all its samples count together. */
export type Step<Name extends string> = readonly [name: Name, work: () => Promise<unknown>];

export interface SamplingOptions {
  /** Rounds that are not counted: compilation, caches. */
  readonly warmUp: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
  readonly afterRound?: (done: number, of: number) => void;
}

/**
 * Times the steps of each round one after the other, so that what else the machine does meets all of them alike. Values
 * are milliseconds.
 */
export async function sampleRounds<Name extends string>(
  steps: (round: number) => readonly Step<Name>[],
  options: SamplingOptions,
): Promise<Samples<Name>> {
  const { warmUp, rounds, signal, now = () => performance.now() } = options;
  const samples = new Samples<Name>();
  for (let round = 0; round < warmUp + rounds; round += 1) {
    for (const [name, work] of steps(round)) {
      signal.throwIfAborted();
      const began = now();
      await work();
      const elapsed = now() - began;
      if (round >= warmUp) samples.add(name, elapsed);
    }
    options.afterRound?.(round + 1, warmUp + rounds);
  }
  return samples;
}

export class Samples<Name extends string> {
  readonly #values = new Map<Name, number[]>();

  add(name: Name, value: number): void {
    const values = this.#values.get(name);
    if (values === undefined) this.#values.set(name, [value]);
    else values.push(value);
  }

  summary(name: Name): Summary {
    const values = this.#values.get(name);
    if (values === undefined) throw new BugError(`${name} was not sampled`);
    return summarize(values);
  }

  /** How many times the median of one is that of the other. */
  ratio(name: Name, to: Name): number {
    return this.summary(name).median / this.summary(to).median;
  }
}
