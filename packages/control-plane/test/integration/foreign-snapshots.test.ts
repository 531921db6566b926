import { afterEach, beforeEach, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// sanoid, zfs-auto-snapshot and people take snapshots of zfsilo's zvols (democratic-csi#562, zfs-localpv#123).

let service: RunningService;
const name = "volumes/one";

beforeEach(async () => {
  service = await runningService();
});

afterEach(async () => {
  await service[Symbol.asyncDispose]();
});

async function zfs(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await service.plane.world.executor("give").run(["zfs", ...args], { signal: new AbortController().signal });
  if (exitCode !== 0) throw new Error(stderr);
  return stdout.trim();
}

async function dataset(): Promise<string> {
  const [first = ""] = (await zfs("list", "-Hp", "-o", "name", "-t", "volume")).split("\n");
  return first;
}

async function snapshots(): Promise<number> {
  const listed = await zfs("list", "-Hp", "-o", "name", "-t", "snapshot");
  return listed === "" ? 0 : listed.split("\n").length;
}

function take(snapshotId: string): Promise<Json> {
  return service.call("SnapshotService/CreateSnapshot", { snapshotId, snapshot: { volume: name } });
}

function remove(fields: object = {}): Promise<Json> {
  return service.call("VolumeService/DeleteVolume", { name, ...fields });
}

it.each([{}, { snapshotPolicy: "SNAPSHOT_POLICY_DELETE" }, { snapshotPolicy: "SNAPSHOT_POLICY_PROMOTE_CLONE" }])(
  "names those on a volume that is deleted with %j, before anything goes",
  async (fields) => {
    await service.volume("one", "initial");
    const own = fields.snapshotPolicy === "SNAPSHOT_POLICY_DELETE";
    if (own) await take("own");
    const foreign = `${await dataset()}@autosnap_2026-01-01_00:00:01_daily`;
    await zfs("snapshot", foreign);
    await expect(remove(fields)).rejects.toThrow(`delete volumes/one: its dataset has snapshots that zfsilo did not take: ${foreign}`);
    expect(await snapshots()).toBe(own ? 2 : 1);
    expect(await service.call("VolumeService/GetVolume", { name })).toBeDefined();
    await remove({ ...fields, deleteForeignSnapshots: true });
    expect(await snapshots()).toBe(0);
    expect(await dataset()).toBe("");
  },
);

it("never destroys one that others need", async () => {
  await service.volume("one", "initial");
  const at = await dataset();
  await zfs("snapshot", `${at}@cloned`);
  await zfs("clone", `${at}@cloned`, "tank/by-hand");
  await expect(remove({ deleteForeignSnapshots: true })).rejects.toThrow(`${at}@cloned (cloned as tank/by-hand)`);
  expect(await snapshots()).toBe(1);
});

it("lets a promoted clone take over those that are older than it", async () => {
  await service.volume("one", "initial");
  const at = await dataset();
  await zfs("snapshot", `${at}@before`);
  await take("own");
  await service.call("VolumeService/CreateVolume", { volumeId: "two", volume: { source: { snapshot: "snapshots/own" } } });
  await zfs("snapshot", `${at}@after`);
  await expect(remove({ snapshotPolicy: "SNAPSHOT_POLICY_PROMOTE_CLONE" })).rejects.toThrow(`did not take: ${at}@after`);
  await zfs("destroy", `${at}@after`);
  await remove({ snapshotPolicy: "SNAPSHOT_POLICY_PROMOTE_CLONE" });
  expect(await snapshots()).toBe(2);
});

it("names later ones when a volume is rolled back", async () => {
  await service.volume("one", "initial");
  await take("own");
  const foreign = `${await dataset()}@zfs-auto-snap_hourly-2026-01-01-0000`;
  await zfs("snapshot", foreign);
  const request = { name, snapshot: "snapshots/own", destroyLaterSnapshots: true };
  await expect(service.call("SnapshotService/RollbackVolume", request)).rejects.toThrow(`later snapshots exist that are none of ours: ${foreign}`);
  expect(await snapshots()).toBe(2);
  await service.call("SnapshotService/RollbackVolume", { ...request, deleteForeignSnapshots: true });
  expect(await snapshots()).toBe(1);
});
