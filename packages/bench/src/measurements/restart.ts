import { setTimeout as sleep } from "node:timers/promises";
import { atMost } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { Samples } from "../sampling.ts";
import { seedVolumes } from "../seed.ts";
import { startSystem, temporaryDirectory } from "../system.ts";

const counts = [1_000, 10_000] as const;
const starts = 4;
type Key = `${"reconciled" | "look"} ${(typeof counts)[number]}`;

/**
 * From the start of the control plane to the end of its first reconcile cycle, held to one look at the same hosts in bulk, which
 * that start and a cycle right after it make.
 */
export const restart: Measurement = {
  name: "restart",
  async run({ signal, progress }) {
    const samples = new Samples<Key>();
    for (const count of counts) {
      await using directory = await temporaryDirectory();
      await (await startSystem({ dataDir: directory.path }))[Symbol.asyncDispose]();
      progress(`writing ${count} rows and making as many simulated zvols`);
      await seedVolumes(directory.path, { count, zvols: true }, signal);
      for (let start = 0; start < starts; start += 1) {
        progress(`${count} volumes, start ${start + 1} of ${starts}`);
        const began = performance.now();
        await using system = await startSystem({ dataDir: directory.path });
        while ((await read(system.url, 'cycle_seconds_count{outcome="ok"}')) < 1) await sleep(5, undefined, { signal });
        const reconciledMs = performance.now() - began;
        await system.volumes.syncVolumes({}, { signal });
        const lookMs = ((await read(system.url, "observe_seconds_sum")) / (await read(system.url, "observe_seconds_count"))) * 1000;
        // The first one compiles what the others use.
        if (start === 0) continue;
        samples.add(`reconciled ${count}`, reconciledMs);
        samples.add(`look ${count}`, lookMs);
      }
    }
    const shown = (count: number): string => count.toLocaleString("en");
    return {
      measures: counts.flatMap((count) => [
        { name: `restart to reconciled, ${shown(count)} volumes`, unit: "ms" as const, ...samples.summary(`reconciled ${count}`) },
        { name: `one look at all hosts, ${shown(count)} volumes`, unit: "ms" as const, ...samples.summary(`look ${count}`) },
      ]),
      ratios: counts.map((count) =>
        atMost(`restart to reconciled / one look, ${shown(count)} volumes`, samples.ratio(`reconciled ${count}`, `look ${count}`), 3),
      ),
    };
  },
};

/** A reconcile metric as /metrics shows it; 0 before it is there. */
async function read(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`zfsilo_reconcile_${name} `));
  return Number(line?.slice(line.lastIndexOf(" ") + 1) ?? 0);
}
