import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Consistency, CopyMode, HostRole, VolumeMode, VolumeSchema, VolumeSourceSchema, type ClonePolicy, type SnapshotPolicy } from "@zfsilo/api";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { refused } from "../../src/api/refused.ts";
import { startSystem, type System } from "../../src/api/system.ts";

const mib = 1n << 20n;
const give = "hosts/hst_give";
const take = "hosts/hst_take";
const far = "hosts/far";
const key = new Uint8Array(32).fill(0x5a);
const { InvalidArgument, NotFound, FailedPrecondition, ResourceExhausted, AlreadyExists } = Code;

let system: System;
let before: unknown;

/** mounted: with snapshots early and late. other: with one snapshot and a hold. secret: encrypted. there: on another host. */
beforeAll(async () => {
  system = await startSystem();
  const { hosts, volumes, snapshots } = system;
  await hosts.createHost({ hostId: "far", host: { roles: [HostRole.TARGET], connection: { case: "simulated", value: {} }, pools: [{ name: "tank" }] } });
  const make = (volumeId: string, host: string, fields: MessageInitShape<typeof VolumeSchema> = {}, encryptionKey = new Uint8Array()) =>
    volumes.createVolume({ volumeId, volume: create(VolumeSchema, { host, capacityBytes: 64n * mib, ...fields }), encryptionKey });
  await make("mounted", give);
  await make("other", give, { mode: VolumeMode.BLOCK });
  await make("there", far);
  await make("secret", give, { encryption: {} }, key);
  for (const [snapshotId, volume] of [["early", "volumes/mounted"], ["late", "volumes/mounted"], ["held", "volumes/other"]] as const) {
    await snapshots.createSnapshot({ snapshotId, snapshot: { volume } });
  }
  await snapshots.holdSnapshot({ name: "snapshots/held", tag: "backup" });
  await system.groups.createGroupSnapshot({ groupSnapshotId: "both", groupSnapshot: { volumes: ["volumes/mounted", "volumes/other"] } });
  const name = "volumes/mounted";
  await volumes.publishVolume({ name });
  await volumes.connectVolume({ name, host: take });
  await volumes.stageVolume({ name, host: take, stagingPath: "/mnt/staged" });
});
afterAll(async () => {
  await system.stop();
});

const picture = async () => ({
  hosts: system.controlPlane.world.snapshot(),
  volumes: (await system.volumes.listVolumes({})).volumes,
  snapshots: (await system.snapshots.listSnapshots({ showTombstoned: true })).snapshots,
  groups: (await system.groups.listGroupSnapshots({})).groupSnapshots,
});
beforeEach(async () => {
  before = await picture();
});
afterEach(async () => {
  expect(await picture()).toEqual(before);
});

describe("CreateSnapshot refuses", () => {
  it.each([
    ["a missing volume", { volume: "volumes/none" }, NotFound, "snapshot.volume"],
    ["no volume", {}, InvalidArgument, "snapshot.volume"],
    ["a host for a volume", { volume: give }, InvalidArgument, "snapshot.volume"],
    ["what only the server says", { volume: "volumes/other", holds: ["x"] }, InvalidArgument, "snapshot.holds"],
    ["an unknown promise", { volume: "volumes/other", consistency: 7 as Consistency }, InvalidArgument, "snapshot.consistency"],
    ["a frozen raw block volume", { volume: "volumes/other", consistency: Consistency.FILESYSTEM }, FailedPrecondition, "snapshot.consistency"],
  ])("%s", async (_what, snapshot, code, field) => {
    await refused(system.snapshots.createSnapshot({ snapshotId: "bad", snapshot }), code, field);
  });

  it("an id that is taken, of another source or with another promise", async () => {
    const ask = (volume: string, consistency: Consistency = Consistency.CRASH) => system.snapshots.createSnapshot({ snapshotId: "early", snapshot: { volume, consistency } });
    await refused(ask("volumes/other"), AlreadyExists, "snapshot_id");
    await refused(ask("volumes/mounted", Consistency.FILESYSTEM), AlreadyExists, "snapshot_id");
    expect(await ask("volumes/mounted")).toMatchObject({ snapshot: { name: "snapshots/early" }, operation: "" });
  });

  it.each(["Upper", "a b", "a@b", "x".repeat(64)])("the id %j", async (snapshotId) => {
    await refused(system.snapshots.createSnapshot({ snapshotId, snapshot: { volume: "volumes/other" } }), InvalidArgument, "snapshot_id");
  });

  it.each([-1, 61])("to freeze for %i seconds", async (freezeLimitSeconds) => {
    await refused(system.snapshots.createSnapshot({ snapshot: { volume: "volumes/other" }, freezeLimitSeconds }), InvalidArgument, "freeze_limit_seconds");
  });
});

describe.each([["a clone", CopyMode.CLONE], ["a full copy", CopyMode.FULL]])("CreateVolume of %s refuses", (_mode, copyMode) => {
  type Source = MessageInitShape<typeof VolumeSourceSchema>["source"];
  const early: Source = { case: "snapshot", value: "snapshots/early" };
  it.each<[string, Source, MessageInitShape<typeof VolumeSchema>, Code, string]>([
    ["nothing as its source", undefined, {}, InvalidArgument, "volume.source"],
    ["a missing snapshot", { case: "snapshot", value: "snapshots/none" }, {}, NotFound, "volume.source.snapshot"],
    ["a missing volume", { case: "volume", value: "volumes/none" }, {}, NotFound, "volume.source.volume"],
    ["less than its source", early, { capacityBytes: 32n * mib }, InvalidArgument, "volume.capacity_bytes"],
    ["more than the pool", early, { capacityBytes: 1n << 60n }, ResourceExhausted, "volume.capacity_bytes"],
    ["an unknown option", early, { zfsOptions: { volmode: "none" } }, InvalidArgument, 'volume.zfs_options["volmode"]'],
    ["a bad value of an option", early, { zfsOptions: { sync: "maybe" } }, InvalidArgument, 'volume.zfs_options["sync"]'],
    ["another block size", early, { zfsOptions: { volblocksize: "65536" } }, InvalidArgument, "volume.zfs_options.volblocksize"],
    ["another host", early, { host: far }, InvalidArgument, "volume.host"],
    ["another filesystem", early, { filesystem: { type: "xfs" } }, InvalidArgument, "volume.filesystem.type"],
    ["an encryption of its own", early, { encryption: {} }, InvalidArgument, "volume.encryption"],
  ])("%s", async (_what, source, fields, code, field) => {
    const volume = create(VolumeSchema, fields);
    volume.source = create(VolumeSourceSchema, { copyMode, ...(source && { source }) });
    await refused(system.volumes.createVolume({ volumeId: "bad", volume }), code, field);
  });

  it("an id that is taken with another source", async () => {
    const volume = create(VolumeSchema, { source: { source: early, copyMode } });
    await refused(system.volumes.createVolume({ volumeId: "other", volume }), AlreadyExists, "volume_id");
  });
});

describe("CreateGroupSnapshot refuses", () => {
  const mounted = "volumes/mounted";
  it.each([
    ["no volumes", [], InvalidArgument, "group_snapshot.volumes"],
    ["volumes of two hosts", [mounted, "volumes/there"], InvalidArgument, "group_snapshot.volumes"],
    ["a missing volume", [mounted, "volumes/none"], NotFound, "group_snapshot.volumes[1]"],
    ["a volume twice", [mounted, mounted], InvalidArgument, "group_snapshot.volumes[1]"],
    ["a snapshot among them", ["snapshots/early"], InvalidArgument, "group_snapshot.volumes[0]"],
    ["more than there may be", Array.from({ length: 65 }, (_, index) => `volumes/v${index}`), InvalidArgument, "group_snapshot.volumes"],
  ])("%s", async (_what, volumes, code, field) => {
    await refused(system.groups.createGroupSnapshot({ groupSnapshotId: "bad", groupSnapshot: { volumes } }), code, field);
  });

  it("an id that is taken for others", async () => {
    await refused(system.groups.createGroupSnapshot({ groupSnapshotId: "both", groupSnapshot: { volumes: [mounted] } }), AlreadyExists, "group_snapshot_id");
  });

  it("a promise that one of them cannot keep", async () => {
    const groupSnapshot = { volumes: [mounted, "volumes/other"], consistency: Consistency.FILESYSTEM };
    await refused(system.groups.createGroupSnapshot({ groupSnapshotId: "bad", groupSnapshot }), FailedPrecondition, "group_snapshot.consistency");
  });
});

describe("RollbackVolume refuses", () => {
  it.each([
    ["a mounted volume", "volumes/mounted", "snapshots/early", FailedPrecondition, "name"],
    ["a missing volume", "volumes/none", "snapshots/early", NotFound, "name"],
    ["a missing snapshot", "volumes/other", "snapshots/none", NotFound, "snapshot"],
    ["a snapshot of another volume", "volumes/other", "snapshots/early", FailedPrecondition, "snapshot"],
    ["no snapshot", "volumes/other", "", InvalidArgument, "snapshot"],
  ])("%s", async (_what, name, snapshot, code, field) => {
    await refused(system.snapshots.rollbackVolume({ name, snapshot, destroyLaterSnapshots: true }), code, field);
  });

  it("to lose later snapshots unasked, or those of a group", async () => {
    const ask = (destroyLaterSnapshots: boolean) => system.snapshots.rollbackVolume({ name: "volumes/other", snapshot: "snapshots/held", destroyLaterSnapshots });
    await expect(ask(false)).rejects.toThrow(/later snapshots exist: snapshots\/snap_/);
    await expect(ask(true)).rejects.toThrow("needed by groupSnapshots/both");
  });
});

describe("deletions and holds refuse", () => {
  it.each(["", "-a", "a/b", "a b", "x".repeat(101)])("the tag %j", async (tag) => {
    await refused(system.snapshots.holdSnapshot({ name: "snapshots/early", tag }), InvalidArgument, "tag");
    await refused(system.snapshots.releaseSnapshot({ name: "snapshots/early", tag }), InvalidArgument, "tag");
  });

  it("what others need", async () => {
    await refused(system.snapshots.deleteSnapshot({ name: "snapshots/held" }), FailedPrecondition);
    await refused(system.volumes.deleteVolume({ name: "volumes/other" }), FailedPrecondition);
    await refused(system.groups.deleteGroupSnapshot({ name: "groupSnapshots/none" }), NotFound);
    await refused(system.snapshots.deleteSnapshot({ name: "snapshots/early", clonePolicy: 9 as ClonePolicy }), InvalidArgument, "clone_policy");
    await refused(system.volumes.deleteVolume({ name: "volumes/other", snapshotPolicy: 9 as SnapshotPolicy }), InvalidArgument, "snapshot_policy");
  });
});

describe("keys of the wrong length are refused", () => {
  it.each([0, 16, 31, 33, 64])("%i bytes", async (length) => {
    const encryptionKey = new Uint8Array(length).fill(0x5a);
    const volume = create(VolumeSchema, { host: give, capacityBytes: 64n * mib, encryption: {} });
    await refused(system.volumes.createVolume({ volumeId: "bad", volume, encryptionKey }), InvalidArgument, "encryption_key");
    await refused(system.volumes.loadKey({ name: "volumes/secret", encryptionKey }), InvalidArgument, "encryption_key");
  });
});

describe("ListSnapshots and ListGroupSnapshots refuse", () => {
  it.each([
    ["an unknown field", { filter: "colour = red" }, "filter"],
    ["an unknown order", { orderBy: "colour" }, "order_by"],
    ["a token that is not ours", { pageToken: "bm90LW91cnM" }, "page_token"],
    ["a negative page", { pageSize: -1 }, "page_size"],
  ])("%s", async (_what, request, field) => {
    await refused(system.snapshots.listSnapshots(request), InvalidArgument, field);
    await refused(system.groups.listGroupSnapshots(request), InvalidArgument, field);
  });
});
