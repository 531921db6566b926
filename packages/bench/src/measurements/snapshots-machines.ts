import type { Argv } from "@zfsilo/command";
import { childOf, parseDatasetName, snapshotOf, ZfsClones, ZfsRanges, ZfsSnapshots, type DatasetName } from "@zfsilo/host";
import { bytes, newVolumeHandle } from "@zfsilo/lib";
import { poolName } from "@zfsilo/microvm";
import { atMost, type Findings } from "../findings.ts";
import { MachineLab } from "../machine-lab.ts";
import type { MachineMeasurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";

const titles = {
  snapshot: "snapshot taken and read back",
  "zfs snapshot": "zfs snapshot, one ssh exec",
  clone: "clone made and read back",
  "zfs clone": "zfs clone, one ssh exec",
  ranges: "changed ranges of a sparse 10 GiB volume",
  "zfs send": "zfs send -i | wc -c on the host",
} as const;
type Name = keyof typeof titles | "not counted";

/** What a busy 10 GiB volume writes between two backups, spread over it. */
const writes = { count: 48, blockKiB: 1024, everyMiB: 208 } as const;

/** Snapshots, clones and changed ranges on give, next to the bare commands. */
export const snapshotsMachines: MachineMeasurement = {
  name: "snapshots-machines",
  async run({ signal, progress }, machines) {
    await using lab = new MachineLab(machines, signal);
    const { give, zfs, o } = lab;
    const snapshots = new ZfsSnapshots(give);
    const clones = new ZfsClones(give);
    const dataset = childOf(parseDatasetName(poolName), `bench-${newVolumeHandle()}`);
    const owner = { "zfsilo:volume": "vol_bench", "zfsilo:cluster": "bench" } as const;
    await zfs.createVolume({ dataset, sizeBytes: bytes(10n << 30n), sparse: true, options: {}, userProperties: owner }, o);
    const run = async (...argv: Argv): Promise<void> => {
      const { exitCode, stderr } = await give.run(argv, o);
      if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
    };
    progress("snapshots and clones, in turns with the bare commands");
    const samples = await sampleRounds<Name>(
      (round) => {
        const [mine, bare] = [snapshotOf(dataset, `m${round}`), snapshotOf(dataset, `b${round}`)];
        const copy = (name: string): DatasetName => childOf(parseDatasetName(poolName), `bench-${name}-${round}`);
        const spec = { snapshot: mine, dataset: copy("mine"), sparse: true, options: {}, userProperties: owner };
        const marks = ["-o", "zfsilo:cluster=bench", "-o", "zfsilo:volume=vol_bench"] as const;
        return [
          ["snapshot", () => snapshots.create([mine], { "zfsilo:snapshot": "bench" }, o)],
          ["zfs snapshot", () => run("zfs", "snapshot", "-o", "zfsilo:snapshot=bench", bare)],
          ["clone", () => clones.clone(spec, o)],
          ["zfs clone", () => run("zfs", "clone", ...marks, bare, copy("bare"))],
          ["not counted", () => zfs.destroyVolume(copy("mine"), o)],
          ["not counted", () => zfs.destroyVolume(copy("bare"), o)],
        ];
      },
      { warmUp: 2, rounds: 10, signal },
    );

    progress("changed ranges, in turns with zfs send | wc -c");
    const [base, target] = [snapshotOf(dataset, "base"), snapshotOf(dataset, "target")];
    await snapshots.create([base], { "zfsilo:snapshot": "bench" }, o);
    for (let at = 0; at < writes.count; at += 1) {
      const place = [`bs=${writes.blockKiB}K`, "count=1", `seek=${at * writes.everyMiB}`, "conv=notrunc"];
      await run("dd", "if=/dev/urandom", `of=/dev/zvol/${dataset}`, ...place, "status=none");
    }
    await run("sync", `/dev/zvol/${dataset}`);
    await snapshots.create([target], { "zfsilo:snapshot": "bench" }, o);
    let peak = 0;
    const ranges = async (): Promise<void> => {
      for await (const batch of new ZfsRanges(give).changed(base, target, {}, o)) {
        if (batch.length > 0) peak = Math.max(peak, process.memoryUsage.rss());
      }
    };
    const before = process.memoryUsage.rss();
    const streams = await sampleRounds<Name>(
      () => [
        ["ranges", ranges],
        ["zfs send", () => give.pipe(["zfs", "send", "-i", base, target], ["wc", "-c"], { ...o, timeoutMs: 120_000 })],
      ],
      { warmUp: 1, rounds: 4, signal },
    );
    return {
      measures: (Object.keys(titles) as (keyof typeof titles)[]).map((name) => ({
        name: titles[name],
        unit: "ms",
        ...(name === "ranges" || name === "zfs send" ? streams : samples).summary(name),
      })),
      ratios: [
        atMost("snapshot / zfs snapshot", samples.ratio("snapshot", "zfs snapshot"), 2),
        atMost("clone / zfs clone", samples.ratio("clone", "zfs clone"), 2),
        atMost("changed ranges / zfs send -i | wc -c", streams.ratio("ranges", "zfs send"), 2),
        atMost("memory that reading ranges adds", Math.max(0, peak - before) / 1e6, 100, "MB"),
      ],
    } satisfies Findings;
  },
};
