import { setTimeout as sleep } from "node:timers/promises";
import { atMost, type Measure } from "../findings.ts";
import type { Bench, Measurement } from "../measurement.ts";
import { Samples } from "../sampling.ts";
import { seedVolumes } from "../seed.ts";
import { startService, type ServiceProcess } from "../service-process.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeCalls, lifeOf } from "../volume-life.ts";

const starts = 3;
const volumeCount = 10_000;
/** Between the last call and the look at the memory. */
const restMs = 3_000;

/** Start and resident memory of the service as a process of its own: untouched, and with many volumes after some work. */
export const memory: Measurement = {
  name: "memory",
  async run(bench) {
    const { signal, progress } = bench;
    const samples = new Samples<"empty start" | "full start" | "idle" | "full, idle" | "full, after work">();
    const look = async (name: Parameters<typeof samples.add>[0], service: ServiceProcess): Promise<void> => {
      await sleep(restMs, undefined, { signal });
      samples.add(name, (await service.residentBytes()) / 1e6);
    };
    await using empty = await temporaryDirectory();
    await using full = await temporaryDirectory();
    progress(`writing ${volumeCount} rows and making as many simulated zvols`);
    for (const { path } of [empty, full]) await (await startSystem({ dataDir: path }))[Symbol.asyncDispose]();
    await seedVolumes(full.path, { count: volumeCount, zvols: true }, signal);
    for (let start = 1; start <= starts; start += 1) {
      progress(`start ${start} of ${starts}, without volumes and with ${volumeCount}`);
      {
        await using service = await startService(empty.path, signal);
        samples.add("empty start", service.readyAfterMs);
        await look("idle", service);
      }
      await using service = await startService(full.path, signal);
      samples.add("full start", service.readyAfterMs);
      await look("full, idle", service);
      await work(service, `vol_bench_${start}`, bench);
      await look("full, after work", service);
    }
    const value = (name: Parameters<typeof samples.add>[0]): number => samples.summary(name).median;
    const measure = (name: string, unit: "ms" | "MB", sample: Parameters<typeof samples.add>[0]): Measure => ({ name, unit, ...samples.summary(sample) });
    return {
      measures: [
        measure("start to ready, no volume", "ms", "empty start"),
        measure("start to ready, 10,000 volumes", "ms", "full start"),
        measure("resident, no volume, idle", "MB", "idle"),
        measure("resident, 10,000 volumes, idle", "MB", "full, idle"),
        measure("resident, 10,000 volumes, after listing all and some lives", "MB", "full, after work"),
      ],
      ratios: [
        atMost("resident memory, idle", value("idle"), 150, "MB"),
        atMost("resident memory, 10,000 volumes, idle", value("full, idle"), 220, "MB"),
        atMost("start to ready, 10,000 volumes", value("full start") / 1000, 2, "s"),
      ],
    };
  },
};

/** What brings the volumes into memory, if anything does: every row is listed, and some volumes live. */
async function work({ volumes }: ServiceProcess, prefix: string, { signal }: Bench): Promise<void> {
  let pageToken = "";
  do {
    const page = await volumes.listVolumes({ pageSize: 1000, pageToken }, { signal });
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  for (let index = 0; index < 20; index += 1) {
    const life = lifeOf(volumes, `${prefix}_${index}`);
    for (const call of lifeCalls) await life[call]();
  }
}
