import { afterAll, beforeAll, expect, it } from "vitest";
import { runningService, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeAll(async () => {
  service = await runningService();
  // What is read once for each pool, and the parent dataset that the first volume makes.
  await service.volume("first", "published");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

interface Cost {
  /** Round trips that run commands, however many commands each runs. */
  readonly execs: number;
  readonly batches: number;
  /** On the target, in order, by their first two words. */
  readonly commands: readonly string[];
}

/** Counted by the metrics: a sequence is one. */
async function trips(): Promise<Omit<Cost, "commands">> {
  const { text } = await service.get("/metrics");
  const counts = [...text.matchAll(/^zfsilo_host_command_duration_seconds_count\{tool="([\w.-]+)".*\} (\d+)$/gm)];
  const sum = (wanted: (tool: string) => boolean): number =>
    counts.filter(([, tool = ""]) => wanted(tool)).reduce((all, [, , count]) => all + Number(count), 0);
  return { execs: sum((tool) => tool !== "files"), batches: sum((tool) => tool === "files") };
}

/** Asking for the metrics looks at the pools, after the counts were read. */
const execsOfTrips = 1;

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const calls = service.plane.world.calls("give");
  const before = await trips();
  const { count } = calls;
  await work();
  const made = calls.latest.slice(calls.latest.length - (calls.count - count));
  const after = await trips();
  const commands = made.flatMap((call) => ("argv" in call ? [call.argv.slice(0, 2).join(" ")] : []));
  return { execs: after.execs - before.execs - execsOfTrips, batches: after.batches - before.batches, commands };
}

const volumes = (method: string, message: object) => service.call(`VolumeService/${method}`, message);

// No timed test keeps these calls fast: on a real host a round trip and each command are what takes the time.

it("creates and exports in three execs", async () => {
  const created = await costOf(() => service.volume("made", "initial"));
  expect(created).toMatchObject({ execs: 2, commands: ["zpool list", "zfs get", "zfs create", "zfs get"] });
  const published = await costOf(() => volumes("PublishVolume", { name: "volumes/made" }));
  expect(published).toMatchObject({ execs: 1, batches: 1, commands: ["zfs get"] });
});

it("grows in one exec of three commands", async () => {
  await service.volume("grown", "initial");
  const grow = (capacityBytes: number) => volumes("UpdateVolume", { volume: { name: "volumes/grown", capacityBytes: String(capacityBytes) }, updateMask: "capacityBytes" });
  for (const size of [128 << 20, 256 << 20]) {
    expect(await costOf(() => grow(size))).toEqual({ execs: 1, batches: 0, commands: ["zfs get", "zfs set", "zfs get"] });
  }
});

it("takes a snapshot in two execs, and deletes it in one", async () => {
  await service.volume("source", "initial");
  const snapshots = (method: string, message: object) => service.call(`SnapshotService/${method}`, message);
  const take = () => snapshots("CreateSnapshot", { snapshotId: "taken", snapshot: { volume: "volumes/source" } });
  expect(await costOf(take)).toEqual({ execs: 2, batches: 0, commands: ["zfs get", "zfs snapshot", "zfs get"] });
  const drop = () => snapshots("DeleteSnapshot", { name: "snapshots/taken" });
  expect(await costOf(drop)).toEqual({ execs: 1, batches: 0, commands: ["zfs get", "zfs destroy", "zfs get"] });
});

it("unpublishes with the mark of its generation alone, and deletes in one exec", async () => {
  await service.volume("gone", "published");
  expect(await costOf(() => volumes("UnpublishVolume", { name: "volumes/gone" }))).toEqual({ execs: 1, batches: 2, commands: ["zfs set"] });
  const deleted = await costOf(() => volumes("DeleteVolume", { name: "volumes/gone" }));
  expect(deleted).toEqual({ execs: 1, batches: 0, commands: ["zfs get", "zfs destroy", "zfs get"] });
});
