import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const signal = new AbortController().signal;
const mib = (count: number): string => `${count << 20}`;
const create = "VolumeService/CreateVolume";

const take = (id: string, volume: string, fields: object = {}): Promise<Json> =>
  service.call("SnapshotService/CreateSnapshot", { snapshotId: id, snapshot: { volume: `volumes/${volume}`, ...fields } });
const clone = (id: string, source: object, fields: object = {}): Promise<Json> =>
  service.call(create, { volumeId: id, volume: { source, sparse: true, ...fields } });
const get = async (id: string): Promise<Json> =>
  (await service.call("VolumeService/GetVolume", { name: `volumes/${id}` }))["volume"] as Json;

/** What no deletion may leave: any zvol or snapshot on the machine, any row. */
async function expectNothingLeft(): Promise<void> {
  const { stdout } = await service.plane.world.executor("give").run(["zfs", "list", "-Hp", "-t", "all", "-o", "name"], { signal });
  expect(stdout.split("\n").filter((name) => /@|zfsilo\//.test(name))).toEqual([]);
  expect(await service.call("VolumeService/ListVolumes", {})).toEqual({});
  expect(await service.call("SnapshotService/ListSnapshots", { showTombstoned: true })).toEqual({});
}

async function attach(id: string): Promise<void> {
  const name = `volumes/${id}`;
  await service.call("VolumeService/PublishVolume", { name });
  await service.call("VolumeService/ConnectVolume", { name, host: "hosts/take" });
  await service.call("VolumeService/StageVolume", { name, host: "hosts/take", stagingPath: `/mnt/${id}` });
}

async function detach(id: string, mounted = true): Promise<void> {
  const name = `volumes/${id}`;
  if (mounted) await service.call("VolumeService/UnmountVolume", { name, host: "hosts/take", targetPath: `/srv/${id}` });
  await service.call("VolumeService/UnstageVolume", { name, host: "hosts/take" });
  await service.call("VolumeService/DisconnectVolume", { name, host: "hosts/take" });
  await service.call("VolumeService/UnpublishVolume", { name });
}

async function write(path: string, content: string): Promise<void> {
  await service.plane.world.executor("take").files([{ op: "write", path, content, create: { mode: 0o644 } }], { signal });
}

async function read(path: string): Promise<string | undefined> {
  const [found] = await service.plane.world.executor("take").files([{ op: "read", path, tolerate: ["ENOENT"] }], { signal });
  return found?.text;
}

describe("a snapshot", () => {
  it("is taken, found, kept under tags, and deleted", async () => {
    await service.volume("one", "initial");
    const { snapshot, operation } = await take("s1", "one", { labels: { team: "db" } });
    expect(operation).toMatch(/^operations\/op_/);
    expect(snapshot).toMatchObject({ name: "snapshots/s1", volume: "volumes/one", state: "SNAPSHOT_STATE_READY", capacityBytes: mib(64), consistency: "CONSISTENCY_CRASH" });
    expect((await get("one"))["dependants"]).toEqual(["snapshots/s1"]);
    const list = await service.call("SnapshotService/ListSnapshots", { filter: "volume = volumes/one AND labels.team = db" });
    expect(list["snapshots"]).toEqual([snapshot]);

    const held = await service.call("SnapshotService/HoldSnapshot", { name: "snapshots/s1", tag: "backup" });
    expect((held["snapshot"] as Json)["holds"]).toEqual(["backup"]);
    await expect(service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" })).rejects.toThrow("failed_precondition: delete snapshots/s1: held by the tags backup");
    await service.call("SnapshotService/ReleaseSnapshot", { name: "snapshots/s1", tag: "backup" });

    const deleted = await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" });
    expect(await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" })).toEqual(deleted);
    expect((await get("one"))["dependants"]).toBeUndefined();
    await service.call("VolumeService/DeleteVolume", { name: "volumes/one" });
    await expectNothingLeft();
  });

  it("taken again is the same, and its id is taken for everything else", async () => {
    await service.volume("one", "initial");
    await service.volume("two", "initial");
    const { snapshot } = await take("s1", "one");
    expect(await take("s1", "one")).toEqual({ snapshot });
    await expect(take("s1", "two")).rejects.toThrow("already_exists: snapshots/s1 exists: it is one of volumes/one");
  });

  it("of a volume that is in use on raw block or was cut off promises no more than it can", async () => {
    await service.volume("raw", "initial", { mode: "VOLUME_MODE_BLOCK", filesystem: undefined });
    const filesystem = { consistency: "CONSISTENCY_FILESYSTEM" };
    await expect(take("s1", "raw", filesystem)).rejects.toThrow("failed_precondition: snapshot.consistency: volumes/raw is raw block");
    await service.volume("one", "mounted");
    await service.call("VolumeService/DisconnectVolume", { name: "volumes/one", host: "hosts/take", force: true });
    await expect(take("s1", "one", filesystem)).rejects.toThrow("failed_precondition: snapshot.consistency: volumes/one was cut off");
    await service.volume("two", "initial");
    expect((await take("s2", "two", filesystem))["snapshot"]).toMatchObject({ consistency: "CONSISTENCY_FILESYSTEM" });
  });

  it.each([
    ["of a volume that is not there", { snapshot: { volume: "volumes/none" } }, "not_found: snapshot.volume: volumes/none does not exist"],
    ["of nothing", {}, "invalid_argument: snapshot.volume: is required"],
    ["of a host", { snapshot: { volume: "hosts/give" } }, "invalid_argument: snapshot.volume: \"hosts/give\" does not begin with volumes/"],
    ["under a bad id", { snapshotId: "A", snapshot: { volume: "volumes/one" } }, "invalid_argument: snapshot_id"],
    ["with a field of the server", { snapshot: { volume: "volumes/one", holds: ["x"] } }, "invalid_argument: snapshot.holds: is output only"],
    ["with a promise nobody knows", { snapshot: { volume: "volumes/one", consistency: 7 } }, "invalid_argument: snapshot.consistency: is unknown"],
    ["frozen for too long", { snapshot: { volume: "volumes/one" }, freezeLimitSeconds: 61 }, "invalid_argument: freeze_limit_seconds"],
  ])("%s is refused", async (_what, message, refusal) => {
    await service.volume("one", "initial");
    await expect(service.call("SnapshotService/CreateSnapshot", message)).rejects.toThrow(refusal);
    expect(await service.call("SnapshotService/ListSnapshots", {})).toEqual({});
  });

  it.each([
    ["GetSnapshot", { name: "snapshots/none" }, "not_found: snapshots/none does not exist"],
    ["DeleteSnapshot", { name: "snapshots/none" }, "not_found: name: snapshots/none does not exist"],
    ["HoldSnapshot", { name: "snapshots/none", tag: "a" }, "not_found: name: snapshots/none does not exist"],
    ["HoldSnapshot", { name: "snapshots/none", tag: "-a" }, "invalid_argument: tag"],
    ["ReleaseSnapshot", { name: "snapshots/none", tag: "" }, "invalid_argument: tag"],
    ["DeleteSnapshot", { name: "snapshots/none", clonePolicy: 9 }, "invalid_argument: clone_policy: is unknown"],
    ["ListSnapshots", { filter: "colour = red" }, "invalid_argument: filter: no field colour"],
    ["RollbackVolume", { name: "volumes/one", snapshot: "snapshots/none" }, "not_found: snapshot: snapshots/none does not exist"],
    ["RollbackVolume", { name: "volumes/none", snapshot: "snapshots/none" }, "not_found: volumes/none does not exist"],
  ])("that is not there, or a bad request: %s %j is refused", async (method, message, refusal) => {
    await service.volume("one", "initial");
    await expect(service.call(`SnapshotService/${method}`, message)).rejects.toThrow(refusal);
  });

  it("that is missing may be deleted when that is allowed", async () => {
    expect(await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/none", allowMissing: true })).toEqual({});
  });
});

describe("a frozen snapshot", () => {
  it("is taken of a mounted filesystem, which goes on afterwards, and its clone promises the same", async () => {
    await service.volume("one", "mounted");
    await write("/srv/one/data", "before");
    const filesystem = { consistency: "CONSISTENCY_FILESYSTEM" };
    expect((await take("s1", "one", filesystem))["snapshot"]).toMatchObject(filesystem);
    await write("/srv/one/data", "after");
    await clone("two", { snapshot: "snapshots/s1" });
    expect((await take("s2", "two", filesystem))["snapshot"]).toMatchObject(filesystem);
    await take("s3", "one");
    await clone("three", { snapshot: "snapshots/s3" });
    await expect(take("s4", "three", filesystem)).rejects.toThrow("failed_precondition: snapshot.consistency: volumes/three was cut off");
    await attach("three");
    expect((await take("s4", "three", filesystem))["snapshot"]).toMatchObject(filesystem);
  });

  it("is not taken of what merely stands where the volume was mounted", async () => {
    await service.volume("one", "mounted");
    service.plane.world.powerCycle("take");
    await expect(take("s1", "one", { consistency: "CONSISTENCY_FILESYSTEM" })).rejects.toThrow("snapshot.create snapshots/s1: take snapshot");
    expect(await service.call("SnapshotService/ListSnapshots", {})).toEqual({});
  });
});

describe("a full copy", () => {
  it.each(["snapshot", "volume"])("of a %s has its bytes, and needs nothing of its source", async (kind) => {
    await service.volume("one", "mounted");
    await write("/srv/one/data", "at that time");
    await take("s1", "one");
    const source = kind === "snapshot" ? { snapshot: "snapshots/s1" } : { volume: "volumes/one" };
    const { volume } = await clone("two", { ...source, copyMode: "COPY_MODE_FULL" }, { capacityBytes: mib(512) });
    expect(volume).toMatchObject({ capacityBytes: mib(512), source: { ...source, copyMode: "COPY_MODE_FULL" } });
    expect(volume).not.toHaveProperty("origin");
    await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" });
    await detach("one");
    await service.call("VolumeService/DeleteVolume", { name: "volumes/one" });
    await attach("two");
    expect(await read("/mnt/two/data")).toBe("at that time");
    await detach("two", false);
    await service.call("VolumeService/DeleteVolume", { name: "volumes/two" });
    await expectNothingLeft();
  });
});

describe("what reconciling sees of snapshots", () => {
  const zfs = (...args: string[]): Promise<unknown> => service.plane.world.executor("give").run(["zfs", ...args], { signal });
  const snapshotOf = async (id: string): Promise<Json> => (await service.call("SnapshotService/GetSnapshot", { name: `snapshots/${id}` }))["snapshot"] as Json;

  it("is space, holds, and what is missing: that is told, and never taken anew", async () => {
    await service.volume("one", "mounted");
    await take("s1", "one");
    const dataset = String((await snapshotOf("s1"))["dataset"]);
    await write("/srv/one/data", "x".repeat(100_000));
    await zfs("hold", "by-hand", dataset);
    await service.call("VolumeService/SyncVolumes", {});
    expect(await snapshotOf("s1")).toMatchObject({ holds: ["by-hand"], space: { referencedBytes: expect.stringMatching(/^[1-9]/) as string } });
    await zfs("release", "by-hand", dataset);
    await zfs("destroy", dataset);
    await service.call("VolumeService/SyncVolumes", {});
    expect(await snapshotOf("s1")).toMatchObject({ condition: { abnormal: true, reason: "SNAPSHOT_MISSING" } });
    await zfs("snapshot", dataset);
    await service.call("VolumeService/SyncVolumes", {});
    expect(await snapshotOf("s1")).toMatchObject({ condition: { abnormal: true, reason: "FOREIGN_SNAPSHOT" } });
    await expect(service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" })).rejects.toThrow("failed_precondition");
    await zfs("destroy", dataset);
    await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" });
  });

  it("is a tombstone that ZFS has freed, and a snapshot of ours that no record explains", async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    await clone("two", { snapshot: "snapshots/s1" });
    await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1", clonePolicy: "CLONE_POLICY_TOMBSTONE" });
    await zfs("destroy", String((await get("two"))["dataset"]));
    await service.call("VolumeService/SyncVolumes", {});
    await expect(snapshotOf("s1")).rejects.toThrow("not_found");
    const lost = `${String((await get("one"))["dataset"])}@lost`;
    await zfs("snapshot", "-o", "zfsilo:snapshot=forgotten", lost);
    const { orphans } = (await service.call("OrphanService/ListOrphans", {})) as { orphans: Json[] };
    expect(orphans).toMatchObject([{ kind: "ORPHAN_KIND_SNAPSHOT", name: lost }]);
    await service.call("OrphanService/DeleteOrphan", { host: "hosts/give", kind: "ORPHAN_KIND_SNAPSHOT", name: lost, guid: orphans[0]!["guid"] });
    expect(await service.call("OrphanService/ListOrphans", {})).toEqual({});
  });
});

describe("a rollback", () => {
  it("brings back the bytes of the snapshot, and names what else would go", async () => {
    await service.volume("one", "mounted");
    await write("/srv/one/data", "before");
    await take("s1", "one");
    await write("/srv/one/data", "after");
    const rollBack = (fields: object = {}): Promise<Json> =>
      service.call("SnapshotService/RollbackVolume", { name: "volumes/one", snapshot: "snapshots/s1", ...fields });
    await expect(rollBack()).rejects.toThrow("failed_precondition: roll back volumes/one: it is connected to hosts/take");
    await detach("one");
    await take("s2", "one");
    await clone("two", { snapshot: "snapshots/s2" });
    await expect(rollBack()).rejects.toThrow("failed_precondition: roll back volumes/one: later snapshots exist: snapshots/s2, volumes/two");
    await expect(rollBack({ destroyLaterSnapshots: true })).rejects.toThrow("failed_precondition: roll back volumes/one: needed by volumes/two");
    await service.call("VolumeService/DeleteVolume", { name: "volumes/two" });
    await rollBack({ destroyLaterSnapshots: true });
    await expect(service.call("SnapshotService/GetSnapshot", { name: "snapshots/s2" })).rejects.toThrow("not_found");
    await attach("one");
    expect(await read("/mnt/one/data")).toBe("before");
  });

  it("keeps the size, and the filesystem fills it again", async () => {
    await service.volume("one", "staged");
    await take("s1", "one");
    await service.call("VolumeService/UpdateVolume", { volume: { name: "volumes/one", capacityBytes: mib(1024) }, updateMask: "capacityBytes" });
    await detach("one", false);
    const { volume } = await service.call("SnapshotService/RollbackVolume", { name: "volumes/one", snapshot: "snapshots/s1" });
    expect((volume as Json)["capacityBytes"]).toBe(mib(1024));
    await attach("one");
    const { differences } = await service.call("VolumeService/SyncVolume", { name: "volumes/one" });
    expect(differences).toBeUndefined();
  });

  it("to before the first stage leaves a blank volume that is formatted as a new one", async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    await attach("one");
    await write("/mnt/one/data", "after");
    await detach("one", false);
    await service.call("SnapshotService/RollbackVolume", { name: "volumes/one", snapshot: "snapshots/s1" });
    await attach("one");
    expect(await read("/mnt/one/data")).toBeUndefined();
  });
});

describe("a clone", () => {
  it.each(["ext4", "xfs"])("of a snapshot has its bytes, its %s, and is mounted beside its source", async (type) => {
    await service.volume("one", "mounted", { filesystem: { type }, capacityBytes: mib(512) });
    await write("/srv/one/data", "at the snapshot");
    await take("s1", "one");
    await write("/srv/one/data", "since");
    const { volume } = await clone("two", { snapshot: "snapshots/s1" });
    const { filesystem } = (await get("one")) as { filesystem: Json };
    expect(volume).toMatchObject({ host: "hosts/give", capacityBytes: mib(512), origin: "snapshots/s1", source: { snapshot: "snapshots/s1" }, filesystem });
    expect((await get("one"))["dependants"]).toEqual(["snapshots/s1", "volumes/two"]);
    await attach("two");
    expect(await read("/mnt/two/data")).toBe("at the snapshot");
    expect(await read("/srv/one/data")).toBe("since");
    await write("/mnt/two/data", "its own");
    expect(await read("/srv/one/data")).toBe("since");
    for (const id of ["one", "two"]) {
      const { differences } = await service.call("VolumeService/SyncVolume", { name: `volumes/${id}` });
      expect(differences).toBeUndefined();
    }
  });

  it("is larger when asked for, and its filesystem grows at the first stage", async () => {
    await service.volume("one", "staged");
    await take("s1", "one");
    await clone("two", { snapshot: "snapshots/s1" }, { capacityBytes: mib(1024) });
    await attach("two");
    expect((await get("two"))["capacityBytes"]).toBe(mib(1024));
    expect((await service.call("VolumeService/SyncVolume", { name: "volumes/two" }))["differences"]).toBeUndefined();
  });

  it("of a volume needs a snapshot that nobody sees, and that goes with it", async () => {
    await service.volume("one", "mounted");
    await write("/srv/one/data", "now");
    const { volume } = await clone("two", { volume: "volumes/one" });
    expect(volume).toMatchObject({ source: { volume: "volumes/one" } });
    expect(await service.call("SnapshotService/ListSnapshots", {})).toEqual({});
    expect((await get("one"))["dependants"]).toEqual(["volumes/two"]);
    await attach("two");
    expect(await read("/mnt/two/data")).toBe("now");
    await detach("two", false);
    await detach("one");
    await expect(service.call("VolumeService/DeleteVolume", { name: "volumes/one" })).rejects.toThrow("failed_precondition: delete volumes/one: needed by volumes/two");
    await service.call("VolumeService/DeleteVolume", { name: "volumes/two" });
    await service.call("VolumeService/DeleteVolume", { name: "volumes/one" });
    await expectNothingLeft();
  });

  it("reserves its size unless it is sparse", async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    await clone("two", { snapshot: "snapshots/s1" }, { sparse: false });
    const { stdout } = await service.plane.world.executor("give").run(["zfs", "get", "-Hp", "-o", "value", "refreservation", String((await get("two"))["dataset"])], { signal });
    expect(Number(stdout)).toBeGreaterThanOrEqual(64 << 20);
  });

  it("asked for again is the same volume, and with other fields its id is taken", async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    const { volume } = await clone("two", { snapshot: "snapshots/s1" });
    expect(await clone("two", { snapshot: "snapshots/s1" })).toEqual({ volume });
    await expect(clone("two", { snapshot: "snapshots/s1" }, { capacityBytes: mib(128) })).rejects.toThrow("already_exists: volumes/two exists");
  });

  it("many of one snapshot are made at once", async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    await Promise.all(Array.from({ length: 16 }, (_, index) => clone(`many${index}`, { snapshot: "snapshots/s1" })));
    const { snapshot } = await service.call("SnapshotService/GetSnapshot", { name: "snapshots/s1" });
    expect((snapshot as Json)["clones"]).toHaveLength(16);
  });

  const ext4 = { type: "ext4" };
  it.each([
    ["of nothing", {}, {}, "invalid_argument: volume.source: names neither"],
    ["of a missing snapshot", { snapshot: "snapshots/none" }, {}, "not_found: volume.source.snapshot: snapshots/none does not exist"],
    ["of a missing volume", { volume: "volumes/none" }, {}, "not_found: volume.source.volume: volumes/none does not exist"],
    ["smaller than its source", { snapshot: "snapshots/s1" }, { capacityBytes: mib(32) }, "invalid_argument: volume.capacity_bytes: 33554432 is less than the 67108864 of its source"],
    ["on another host", { snapshot: "snapshots/s1" }, { host: "hosts/take" }, "invalid_argument: volume.host: its source lives on hosts/give"],
    ["as raw block with a filesystem", { snapshot: "snapshots/s1" }, { mode: "VOLUME_MODE_BLOCK", filesystem: { mountOptions: ["noatime"] } }, "invalid_argument: volume.filesystem: is set, but the volume is raw block"],
    ["with a mount option that its filesystem does not know", { snapshot: "snapshots/s1" }, { filesystem: { mountOptions: ["norecovery"] } }, "invalid_argument: volume.filesystem.mount_options"],
    ["of another filesystem", { snapshot: "snapshots/s1" }, { filesystem: { type: "xfs" } }, "invalid_argument: volume.filesystem.type: its source has ext4"],
    ["made anew", { snapshot: "snapshots/s1" }, { filesystem: { ...ext4, mkfsOptions: { inodes: "100" } } }, "invalid_argument: volume.filesystem.mkfs_options"],
    ["of another block size", { snapshot: "snapshots/s1" }, { zfsOptions: { volblocksize: "65536" } }, "invalid_argument: volume.zfs_options.volblocksize"],
    ["with an unknown option", { snapshot: "snapshots/s1" }, { zfsOptions: { colour: "red" } }, "invalid_argument: volume.zfs_options"],
    ["in another pool", { snapshot: "snapshots/s1" }, { pool: "lake" }, "invalid_argument: volume.pool: its source is in pool tank"],
    ["larger than the pool", { snapshot: "snapshots/s1" }, { capacityBytes: `${2n ** 60n}` }, "resource_exhausted: volume.capacity_bytes"],
  ])("%s is refused, and nothing is changed", async (_what, source, fields, refusal) => {
    await service.volume("one", "initial");
    await take("s1", "one");
    const before = service.plane.world.snapshot();
    await expect(clone("two", source, fields)).rejects.toThrow(refusal);
    expect(service.plane.world.snapshot()).toEqual(before);
    await expect(get("two")).rejects.toThrow("not_found");
  });
});

describe("a deletion", () => {
  beforeEach(async () => {
    await service.volume("one", "initial");
    await take("s1", "one");
    await clone("two", { snapshot: "snapshots/s1" });
  });
  const deleteVolume = (id: string, snapshotPolicy: string | number): Promise<Json> => service.call("VolumeService/DeleteVolume", { name: `volumes/${id}`, snapshotPolicy });

  it("is refused while others need it, naming them", async () => {
    await expect(service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1" })).rejects.toThrow("failed_precondition: delete snapshots/s1: needed by volumes/two");
    await expect(deleteVolume("one", "SNAPSHOT_POLICY_REFUSE")).rejects.toThrow("failed_precondition: delete volumes/one: needed by snapshots/s1, volumes/two");
    await expect(deleteVolume("one", "SNAPSHOT_POLICY_DELETE")).rejects.toThrow("failed_precondition: delete volumes/one: needed by volumes/two");
    await expect(deleteVolume("one", 9)).rejects.toThrow("invalid_argument");
  });

  it("of a snapshot with clones hides it until they are gone", async () => {
    await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s1", clonePolicy: "CLONE_POLICY_TOMBSTONE" });
    expect(await service.call("SnapshotService/ListSnapshots", {})).toEqual({});
    const { snapshot } = await service.call("SnapshotService/GetSnapshot", { name: "snapshots/s1" });
    expect(snapshot).toMatchObject({ state: "SNAPSHOT_STATE_TOMBSTONED", clones: ["volumes/two"] });
    await expect(clone("three", { snapshot: "snapshots/s1" })).rejects.toThrow("not_found: volume.source.snapshot: snapshots/s1 was deleted");
    await expect(take("s1", "one")).rejects.toThrow("already_exists");
    await deleteVolume("two", "SNAPSHOT_POLICY_REFUSE");
    await expect(service.call("SnapshotService/GetSnapshot", { name: "snapshots/s1" })).rejects.toThrow("not_found");
    await deleteVolume("one", "SNAPSHOT_POLICY_REFUSE");
    await expectNothingLeft();
  });

  it("of a volume lets a clone take its snapshots over", async () => {
    await take("s2", "one");
    await expect(deleteVolume("one", "SNAPSHOT_POLICY_PROMOTE_CLONE")).rejects.toThrow("failed_precondition: delete volumes/one: needed by snapshots/s2");
    await service.call("SnapshotService/DeleteSnapshot", { name: "snapshots/s2" });
    await deleteVolume("one", "SNAPSHOT_POLICY_PROMOTE_CLONE");
    const two = await get("two");
    expect(two).toMatchObject({ dependants: ["snapshots/s1"] });
    expect(two["origin"]).toBeUndefined();
    const { snapshot } = (await service.call("SnapshotService/GetSnapshot", { name: "snapshots/s1" })) as { snapshot: Json };
    expect(snapshot).toMatchObject({ volume: "volumes/one", dataset: `${String(two["dataset"])}@${String(snapshot["handle"])}` });
    await clone("three", { snapshot: "snapshots/s1" });
    await deleteVolume("two", "SNAPSHOT_POLICY_PROMOTE_CLONE");
    await deleteVolume("three", "SNAPSHOT_POLICY_DELETE");
    await expectNothingLeft();
  });

  const tree = ["volumes/one", "snapshots/s1", "volumes/two", "snapshots/s2", "volumes/three"];
  const orders = (names: readonly string[]): string[][] =>
    names.length === 0 ? [[]] : names.flatMap((name) => orders(names.filter((other) => other !== name)).map((rest) => [name, ...rest]));
  it("of a tree of clones leaves nothing, in every order", { timeout: 300_000 }, async () => {
    const all = orders(tree);
    expect(all).toHaveLength(120);
    for (const [index, order] of all.entries()) {
      if (index > 0) {
        await service.volume("one", "initial");
        await take("s1", "one");
        await clone("two", { snapshot: "snapshots/s1" });
      }
      await take("s2", "two");
      await clone("three", { snapshot: "snapshots/s2" });
      for (const name of order) await remove(name);
      await expectNothingLeft();
    }
  });

  /** As somebody would: by the gentlest way that works. */
  async function remove(name: string): Promise<void> {
    if (name.startsWith("snapshots/")) {
      await service.call("SnapshotService/DeleteSnapshot", { name, allowMissing: true, clonePolicy: "CLONE_POLICY_TOMBSTONE" });
      return;
    }
    const id = name.slice("volumes/".length);
    try {
      await deleteVolume(id, "SNAPSHOT_POLICY_PROMOTE_CLONE");
    } catch (error) {
      // No clone needs its snapshots: they go with it.
      expect(String(error)).toContain("failed_precondition: delete volumes/");
      await deleteVolume(id, "SNAPSHOT_POLICY_DELETE");
    }
  }
});

describe("a group", () => {
  const group = (id: string, volumes: readonly string[], fields: object = {}): Promise<Json> =>
    service.call("GroupSnapshotService/CreateGroupSnapshot", { groupSnapshotId: id, groupSnapshot: { volumes, ...fields } });

  it("is taken at one instant, found, and deleted as a whole", async () => {
    for (const id of ["one", "two"]) await service.volume(id, "initial");
    const { groupSnapshot } = (await group("g1", ["volumes/two", "volumes/one"], { labels: { team: "db" } })) as { groupSnapshot: Json };
    expect(groupSnapshot).toMatchObject({ name: "groupSnapshots/g1", volumes: ["volumes/two", "volumes/one"], host: "hosts/give" });
    const names = groupSnapshot["snapshots"] as string[];
    const { snapshots } = (await service.call("SnapshotService/ListSnapshots", { filter: "group_snapshot = groupSnapshots/g1" })) as { snapshots: Json[] };
    expect(snapshots.map(({ name }) => name).sort()).toEqual([...names].sort());
    expect(snapshots.map(({ labels }) => labels)).toEqual([{ team: "db" }, { team: "db" }]);
    expect(new Set(snapshots.map(({ createTime }) => createTime)).size).toBe(1);
    expect(await group("g1", ["volumes/one", "volumes/two"])).toEqual({ groupSnapshot });
    await expect(group("g1", ["volumes/one"])).rejects.toThrow("already_exists: groupSnapshots/g1 exists");
    expect(await service.call("GroupSnapshotService/ListGroupSnapshots", { filter: "labels.team = db" })).toEqual({ groupSnapshots: [groupSnapshot] });

    await expect(service.call("SnapshotService/DeleteSnapshot", { name: names[0] })).rejects.toThrow("needed by groupSnapshots/g1");
    await clone("three", { snapshot: names[0] });
    await expect(service.call("GroupSnapshotService/DeleteGroupSnapshot", { name: "groupSnapshots/g1" })).rejects.toThrow("needed by volumes/three");
    await service.call("VolumeService/DeleteVolume", { name: "volumes/three" });
    await service.call("GroupSnapshotService/DeleteGroupSnapshot", { name: "groupSnapshots/g1" });
    await expect(service.call("GroupSnapshotService/GetGroupSnapshot", { name: "groupSnapshots/g1" })).rejects.toThrow("not_found");
    for (const id of ["one", "two"]) await service.call("VolumeService/DeleteVolume", { name: `volumes/${id}` });
    await expectNothingLeft();
  });

  const many = Array.from({ length: 65 }, (_, index) => `volumes/v${index}`);
  it.each([
    ["of nothing", [], "invalid_argument: group_snapshot.volumes: is empty"],
    ["of too many", many, "invalid_argument: group_snapshot.volumes: has 65 entries"],
    ["that names one twice", ["volumes/one", "volumes/one"], "invalid_argument: group_snapshot.volumes[1]: names volumes/one a second time"],
    ["with a missing volume", ["volumes/one", "volumes/none"], "not_found: group_snapshot.volumes[1]: volumes/none does not exist"],
    ["across hosts", ["volumes/one", "volumes/there"], "invalid_argument: group_snapshot.volumes: volumes/one is in pool tank of hosts/give, volumes/there is in pool tank of hosts/far"],
  ])("%s is refused, and nothing is changed", async (_what, volumes, refusal) => {
    if (volumes.includes("volumes/there")) {
      const host = { roles: ["HOST_ROLE_TARGET"], simulated: {}, pools: [{ name: "tank" }] };
      await service.call("HostService/CreateHost", { hostId: "far", host });
      await service.volume("there", "initial", { host: "hosts/far" });
    }
    await service.volume("one", "initial");
    const before = service.plane.world.snapshot();
    await expect(group("g1", volumes)).rejects.toThrow(refusal);
    expect(service.plane.world.snapshot()).toEqual(before);
    expect(await service.call("GroupSnapshotService/ListGroupSnapshots", {})).toEqual({});
  });
});
