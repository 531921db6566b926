import { atLeast, type Measure } from "../findings.ts";
import type { Bench, Measurement } from "../measurement.ts";
import { runAtOnce } from "../pool.ts";
import { Samples } from "../sampling.ts";
import { startSystem, temporaryDirectory, type Volumes } from "../system.ts";
import { lifeCalls, lifeOf, type LifeCall } from "../volume-life.ts";

const atOnce = [1, 32] as const;
const group = 32;
const warmUp = 1;
const rounds = 7;
type Key = `${LifeCall} at ${(typeof atOnce)[number]}`;

/** Calls in a second with 1 and with 32 at once: two groups of volumes go through their life call by call, in turns. */
export const throughput: Measurement = {
  name: "throughput",
  async run(bench) {
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path });
    const samples = new Samples<Key>();
    for (let round = 0; round < warmUp + rounds; round += 1) {
      bench.progress(`${group} lives at a time, round ${round + 1} of ${warmUp + rounds}`);
      await runRound(system.volumes, round, bench, (key, rate) => {
        if (round >= warmUp) samples.add(key, rate);
      });
    }
    return {
      measures: lifeCalls.flatMap((call) =>
        atOnce.map((count): Measure => ({ name: `${call}, ${count} at once`, unit: "calls/s", ...samples.summary(`${call} at ${count}`) })),
      ),
      ratios: lifeCalls.map((call) => atLeast(`${call}: rate at 32 / at 1`, samples.ratio(`${call} at 32`, `${call} at 1`), 1)),
    };
  },
};

async function runRound(volumes: Volumes, round: number, { signal }: Bench, record: (key: Key, rate: number) => void): Promise<void> {
  const groups = atOnce.map((count) => ({
    count,
    lives: Array.from({ length: group }, (_, index) => lifeOf(volumes, `vol_${round}_${count}_${index}`)),
  }));
  // Who goes first gains or loses by it, so they take turns in that too.
  const order = round % 2 === 0 ? groups : groups.toReversed();
  for (const call of lifeCalls) {
    for (const { count, lives } of order) {
      signal.throwIfAborted();
      const began = performance.now();
      await runAtOnce(lives.map((life) => life[call]), count);
      record(`${call} at ${count}`, (group * 1000) / (performance.now() - began));
    }
  }
}
