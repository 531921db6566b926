import { atMost, type Findings } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { median, summarize } from "../statistics.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeOf, type LifeCall } from "../volume-life.ts";

const atOnce = 500;
const singles = 30;
const calls = ["CreateVolume", "DeleteVolume"] as const satisfies readonly LifeCall[];

/** Many calls at once on simulated hosts, next to the same one by one: how soon the first is answered, and how long all take. */
export const bursts: Measurement = {
  name: "bursts",
  async run({ signal, progress }) {
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path });
    const alone = Array.from({ length: 2 * singles }, (_, index) => lifeOf(system.volumes, `vol_alone_${index}`));
    const together = Array.from({ length: atOnce }, (_, index) => lifeOf(system.volumes, `vol_burst_${index}`));
    const found: Findings[] = [];
    for (const call of calls) {
      signal.throwIfAborted();
      progress(`${call}: ${singles} one by one, ${atOnce} at once`);
      const single: number[] = [];
      for (const [index, life] of alone.entries()) {
        const began = performance.now();
        await life[call]();
        // The first half warms up.
        if (index >= singles) single.push(performance.now() - began);
      }
      const began = performance.now();
      const answers = await Promise.all(together.map((life) => life[call]().then(() => performance.now() - began)));
      const one = median(single);
      found.push({
        measures: [
          { name: `${call}, one by one`, unit: "ms", ...summarize(single) },
          { name: `${call}, answered of ${atOnce} at once`, unit: "ms", ...summarize(answers) },
        ],
        ratios: [
          atMost(`${call}: first of ${atOnce} at once / one`, Math.min(...answers) / one, 3),
          atMost(`${call}: all of ${atOnce} at once / as many one by one`, Math.max(...answers) / (atOnce * one), 1),
        ],
      });
    }
    return { measures: found.flatMap(({ measures }) => measures), ratios: found.flatMap(({ ratios }) => ratios) };
  },
};
