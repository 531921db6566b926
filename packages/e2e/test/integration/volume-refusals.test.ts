import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { VolumeMode, VolumeSchema } from "@zfsilo/api";
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { refused } from "../../src/api/refused.ts";
import { startSystem, type System } from "../../src/api/system.ts";

const gib = 1n << 30n;
const give = "hosts/hst_give";
const take = "hosts/hst_take";
const good = { host: give, capacityBytes: gib };

let system: System;
let before: unknown;

beforeAll(async () => {
  system = await startSystem();
  await system.volumes.createVolume({ volumeId: "there", volume: good });
  await system.volumes.publishVolume({ name: "volumes/there" });
  await system.volumes.connectVolume({ name: "volumes/there", host: take });
});
afterAll(async () => {
  await system.stop();
});

const picture = async () => ({
  hosts: system.controlPlane.world.snapshot(),
  volumes: (await system.volumes.listVolumes({})).volumes,
});
beforeEach(async () => {
  before = await picture();
});
afterEach(async () => {
  expect(await picture()).toEqual(before);
});

type VolumeInit = MessageInitShape<typeof VolumeSchema>;
const { InvalidArgument, NotFound, FailedPrecondition, ResourceExhausted, AlreadyExists, Aborted } = Code;

describe("CreateVolume refuses", () => {
  const cases: [string, VolumeInit, Code, string?][] = [
    ["what fits on no host", { capacityBytes: 100n * gib }, ResourceExhausted, "volume.capacity_bytes"],
    ["an unknown parent dataset", { ...good, parentDataset: "tank/none" }, NotFound, "volume.parent_dataset"],
    ["a parent dataset of the wrong form", { ...good, parentDataset: "tank/a@b" }, InvalidArgument, "volume.parent_dataset"],
    ["an unknown host", { ...good, host: "hosts/nobody" }, NotFound],
    ["a host name of the wrong form", { ...good, host: "hst_give" }, InvalidArgument, "volume.host"],
    ["a host that is no target", { ...good, host: take }, FailedPrecondition],
    ["an unknown pool", { ...good, pool: "lake" }, NotFound],
    ["a pool name of the wrong form", { ...good, pool: "ta nk" }, InvalidArgument, "volume.pool"],
    ["capacity 0", { ...good, capacityBytes: 0n }, InvalidArgument, "volume.capacity_bytes"],
    ["negative capacity", { ...good, capacityBytes: -1n }, InvalidArgument, "volume.capacity_bytes"],
    ["capacity that cannot be rounded up", { ...good, capacityBytes: 2n ** 63n - 1n }, InvalidArgument, "volume.capacity_bytes"],
    ["capacity beyond the pool", { ...good, capacityBytes: 100n * gib }, ResourceExhausted, "volume.capacity_bytes"],
    ["sparse capacity beyond the pool", { ...good, capacityBytes: 100n * gib, sparse: true }, ResourceExhausted, "volume.capacity_bytes"],
    ["an unknown ZFS option", { ...good, zfsOptions: { volmode: "none" } }, InvalidArgument, 'volume.zfs_options["volmode"]'],
    ["a ZFS option of ours", { ...good, zfsOptions: { "zfsilo:volume": "x" } }, InvalidArgument, 'volume.zfs_options["zfsilo:volume"]'],
    ["a bad value of a ZFS option", { ...good, zfsOptions: { compression: "best" } }, InvalidArgument, 'volume.zfs_options["compression"]'],
    ["a control character in one", { ...good, zfsOptions: { compression: "lz4\n" } }, InvalidArgument, 'volume.zfs_options["compression"]'],
    ["an unknown filesystem", { ...good, filesystem: { type: "btrfs" } }, InvalidArgument, "volume.filesystem.type"],
    ["a filesystem on raw block", { ...good, mode: VolumeMode.BLOCK, filesystem: { type: "ext4" } }, InvalidArgument, "volume.filesystem"],
    ["an unknown mkfs option", { ...good, filesystem: { mkfsOptions: { force: "1" } } }, InvalidArgument, 'volume.filesystem.mkfs_options["force"]'],
    ["a mount option with a comma", { ...good, filesystem: { mountOptions: ["noatime,suid"] } }, InvalidArgument, "volume.filesystem.mount_options[0]"],
    ["an output-only field", { ...good, dataset: "tank/mine" }, InvalidArgument, "volume.dataset"],
    ["a name in the message", { ...good, name: "volumes/x" }, InvalidArgument, "volume.name"],
    ["a label with a control character", { ...good, labels: { team: "d\u0007b" } }, InvalidArgument, "volume.labels.team"],
  ];
  it.each(cases)("%s", async (_what, volume, code, field) => {
    await refused(system.volumes.createVolume({ volumeId: "bad", volume: create(VolumeSchema, volume) }), code, field);
  });

  it.each(["Upper", "1st", "-x", "x-", "a b", "a/b", "x".repeat(64)])("the id %j", async (volumeId) => {
    await refused(system.volumes.createVolume({ volumeId, volume: good }), InvalidArgument, "volume_id");
  });

  it("an id that is taken with other fields, and gives the same volume for the same", async () => {
    await refused(system.volumes.createVolume({ volumeId: "there", volume: { ...good, capacityBytes: 2n * gib } }), AlreadyExists);
    const again = await system.volumes.createVolume({ volumeId: "there", volume: good });
    expect(again).toMatchObject({ volume: { name: "volumes/there" }, operation: "" });
  });
});

describe("UpdateVolume refuses", () => {
  const name = "volumes/there";
  const cases: [string, VolumeInit, string[], Code, string?][] = [
    ["an empty mask", { name }, [], InvalidArgument, "update_mask"],
    ["an immutable field", { name, pool: "tank" }, ["pool"], InvalidArgument, "update_mask"],
    ["an unknown field", { name }, ["colour"], InvalidArgument, "update_mask"],
    ["to shrink", { name, capacityBytes: gib / 2n }, ["capacity_bytes"], InvalidArgument, "volume.capacity_bytes"],
    ["to grow beyond the pool", { name, capacityBytes: 100n * gib }, ["capacity_bytes"], ResourceExhausted, "volume.capacity_bytes"],
    ["an option that cannot change", { name, zfsOptions: { volblocksize: "4096" } }, ["zfs_options"], InvalidArgument, 'volume.zfs_options["volblocksize"]'],
    ["a mount option of another filesystem", { name, filesystem: { mountOptions: ["nouuid"] } }, ["filesystem.mount_options"], InvalidArgument, "volume.filesystem.mount_options[0]"],
    ["an old revision", { name, displayName: "x", revision: 1n }, ["display_name"], Aborted],
    ["an unknown volume", { name: "volumes/none", displayName: "x" }, ["display_name"], NotFound],
    ["good fields along with a bad one", { name, displayName: "x", capacityBytes: 0n }, ["display_name", "capacity_bytes"], InvalidArgument, "volume.capacity_bytes"],
  ];
  it.each(cases)("%s", async (_what, volume, paths, code, field) => {
    await refused(system.volumes.updateVolume({ volume: create(VolumeSchema, volume), updateMask: { paths } }), code, field);
  });
});

describe("calls on hosts refuse", () => {
  const name = "volumes/there";
  it.each(["relative", "/etc/stage", "/mnt/../etc", "/mnt//x", "/mnt/x/", "/mnt", "/mnt/a\u0000b", "/mnt/no/parent"])(
    "to stage at %j",
    async (stagingPath) => {
      await refused(system.volumes.stageVolume({ name, host: take, stagingPath }), InvalidArgument, "staging_path");
    },
  );

  it("what is not in the state for it", async () => {
    const path = "/mnt/target";
    await refused(system.volumes.mountVolume({ name, host: take, targetPath: path }), FailedPrecondition);
    await refused(system.volumes.unpublishVolume({ name }), FailedPrecondition);
    await refused(system.volumes.deleteVolume({ name }), FailedPrecondition);
    await refused(system.volumes.connectVolume({ name, host: give }), FailedPrecondition);
    await refused(system.volumes.stageVolume({ name, host: "hosts/nobody", stagingPath: "/mnt/x" }), NotFound);
  });

  it("an unknown volume", async () => {
    const none = "volumes/none";
    await refused(system.volumes.getVolume({ name: none }), NotFound);
    await refused(system.volumes.publishVolume({ name: none }), NotFound);
    await refused(system.volumes.deleteVolume({ name: none }), NotFound);
    await refused(system.volumes.getVolume({ name: "there" }), InvalidArgument, "name");
    expect(await system.volumes.deleteVolume({ name: none, allowMissing: true })).toMatchObject({ operation: "" });
  });
});

describe("ListVolumes refuses", () => {
  it.each([
    ["an unknown field", { filter: "colour = red" }, "filter"],
    ["half a filter", { filter: "pool =" }, "filter"],
    ["a value of the wrong type", { filter: "capacity_bytes > many" }, "filter"],
    ["an unknown order", { orderBy: "colour" }, "order_by"],
    ["a token that is not ours", { pageToken: "bm90LW91cnM" }, "page_token"],
    ["a negative page", { pageSize: -1 }, "page_size"],
  ])("%s", async (_what, request, field) => {
    await refused(system.volumes.listVolumes(request), InvalidArgument, field);
  });
});
