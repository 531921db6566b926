import { Code, ConnectError } from "@connectrpc/connect";
import { csi } from "@zfsilo/api";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { blockCapability, mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

const mib = 1n << 20n;
const volumeCapabilities = [mountCapability()];

let system: System;
let driver: RunningDriver;
beforeAll(async () => {
  system = await startSystem();
  driver = await driverOf(system);
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});
beforeEach(async () => {
  expect((await driver.controller.listVolumes({})).entries).toEqual([]);
  expect((await driver.controller.listSnapshots({})).entries).toEqual([]);
});

type Source = "snapshot" | "volume";

async function make(name: string, source?: readonly [Source, string], more: object = {}): Promise<csi.Volume> {
  const content = source && {
    volumeContentSource: {
      type:
        source[0] === "snapshot"
          ? ({ case: "snapshot", value: { snapshotId: source[1] } } as const)
          : ({ case: "volume", value: { volumeId: source[1] } } as const),
    },
  };
  const capacityRange = source === undefined ? { capacityRange: { requiredBytes: 64n * mib } } : {};
  const { volume } = await driver.controller.createVolume({ name, volumeCapabilities, ...capacityRange, ...content, ...more });
  return volume!;
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "Ok",
    (error: unknown) => Code[ConnectError.from(error).code],
  );
const removeVolume = (volumeId: string): Promise<unknown> => driver.controller.deleteVolume({ volumeId });
const removeSnapshot = (snapshotId: string): Promise<unknown> => driver.controller.deleteSnapshot({ snapshotId });

it("a snapshot is taken once, listed by itself and by its volume, and becomes a volume at least as large", async () => {
  const source = await make("source");
  const request = { name: "snap", sourceVolumeId: source.volumeId, parameters: { consistency: "crash" } };
  const { snapshot } = await driver.controller.createSnapshot(request);
  expect(snapshot).toMatchObject({ sizeBytes: 64n * mib, sourceVolumeId: source.volumeId, readyToUse: true });
  expect(snapshot!.creationTime!.seconds).toBeGreaterThan(0n);
  expect((await driver.controller.createSnapshot(request)).snapshot).toEqual(snapshot);
  const { snapshotId } = snapshot!;
  expect((await driver.controller.getSnapshot({ snapshotId })).snapshot).toEqual(snapshot);
  for (const filter of [{ snapshotId }, { sourceVolumeId: source.volumeId }, {}]) {
    expect((await driver.controller.listSnapshots(filter)).entries.map((entry) => entry.snapshot)).toEqual([snapshot]);
  }
  expect(await codeOf(driver.controller.createSnapshot({ ...request, name: "" }))).toBe("InvalidArgument");
  expect(await codeOf(driver.controller.createSnapshot({ ...request, name: "s2", sourceVolumeId: "gone" }))).toBe("NotFound");
  expect(await codeOf(driver.controller.createSnapshot({ ...request, name: "s2", parameters: { colour: "red" } }))).toBe("InvalidArgument");

  const restored = await make("restored", ["snapshot", snapshotId]);
  expect(restored).toMatchObject({ capacityBytes: 64n * mib, contentSource: { type: { case: "snapshot", value: { snapshotId } } } });
  expect((await make("restored", ["snapshot", snapshotId])).volumeId).toBe(restored.volumeId);
  expect(await codeOf(make("restored"))).toBe("AlreadyExists");
  expect(await codeOf(make("small", ["snapshot", snapshotId], { capacityRange: { limitBytes: 32n * mib } }))).toBe("OutOfRange");
  const larger = await make("larger", ["snapshot", snapshotId], { capacityRange: { requiredBytes: 128n * mib } });
  expect(larger.capacityBytes).toBe(128n * mib);

  // Gone for its users at once, though clones stand on it.
  await removeSnapshot(snapshotId);
  await removeSnapshot(snapshotId);
  expect((await driver.controller.listSnapshots({})).entries).toEqual([]);
  for (const { volumeId } of [restored, larger, source]) await removeVolume(volumeId);
});

it("a volume with a snapshot is not deleted with it, unless a clone takes the snapshot over", async () => {
  const source = await make("source");
  const { snapshot } = await driver.controller.createSnapshot({ name: "snap", sourceVolumeId: source.volumeId });
  expect(await codeOf(removeVolume(source.volumeId))).toBe("FailedPrecondition");
  const clone = await make("clone", ["snapshot", snapshot!.snapshotId]);
  await removeVolume(source.volumeId);
  expect((await driver.controller.getSnapshot({ snapshotId: snapshot!.snapshotId })).snapshot?.readyToUse).toBe(true);
  await removeSnapshot(snapshot!.snapshotId);
  await removeVolume(clone.volumeId);
});

it("a volume is cloned, thinly or in full, and its source may go first", async () => {
  const source = await make("source");
  const clone = await make("clone", ["volume", source.volumeId]);
  const full = await make("full", ["volume", source.volumeId], { parameters: { copyMode: "full" } });
  expect(clone.contentSource?.type).toMatchObject({ case: "volume", value: { volumeId: source.volumeId } });
  expect(await codeOf(make("none", ["volume", "gone"]))).toBe("NotFound");
  await removeVolume(source.volumeId);
  for (const { volumeId } of [clone, full]) await removeVolume(volumeId);
});

it("a group is taken at one instant, once, and goes as a whole", async () => {
  const sources = await Promise.all(["a", "b"].map((name) => make(name)));
  const request = { name: "group", sourceVolumeIds: sources.map(({ volumeId }) => volumeId) };
  const { groupSnapshot } = await driver.groups.createVolumeGroupSnapshot(request);
  const { groupSnapshotId, snapshots } = groupSnapshot!;
  expect(groupSnapshot!.readyToUse).toBe(true);
  expect(snapshots.map(({ sourceVolumeId }) => sourceVolumeId)).toEqual(request.sourceVolumeIds);
  expect(new Set(snapshots.map((snapshot) => snapshot.groupSnapshotId))).toEqual(new Set([groupSnapshotId]));
  expect((await driver.groups.createVolumeGroupSnapshot(request)).groupSnapshot).toEqual(groupSnapshot);
  expect((await driver.groups.getVolumeGroupSnapshot({ groupSnapshotId })).groupSnapshot).toEqual(groupSnapshot);
  const other = { ...request, sourceVolumeIds: [sources[0]!.volumeId] };
  expect(await codeOf(driver.groups.createVolumeGroupSnapshot(other))).toBe("AlreadyExists");
  expect(await codeOf(driver.groups.createVolumeGroupSnapshot({ name: "none", sourceVolumeIds: [] }))).toBe("InvalidArgument");

  const snapshotIds = snapshots.map(({ snapshotId }) => snapshotId);
  for (const others of [snapshotIds.slice(1), [...snapshotIds, "csi-none"]]) {
    expect(await codeOf(driver.groups.getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: others }))).toBe("InvalidArgument");
    expect(await codeOf(driver.groups.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: others }))).toBe("InvalidArgument");
  }
  await driver.groups.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds });
  await driver.groups.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds });
  expect(await codeOf(driver.groups.getVolumeGroupSnapshot({ groupSnapshotId }))).toBe("NotFound");
  for (const { volumeId } of sources) await removeVolume(volumeId);
});

/** Every block that a metadata stream tells of, as [offset, size]. */
async function blocksOf(stream: AsyncIterable<{ volumeCapacityBytes: bigint; blockMetadata: csi.BlockMetadata[] }>): Promise<bigint[][]> {
  const blocks: bigint[][] = [];
  for await (const { volumeCapacityBytes, blockMetadata } of stream) {
    expect(volumeCapacityBytes).toBe(64n * mib);
    blocks.push(...blockMetadata.map(({ byteOffset, sizeBytes }) => [byteOffset, sizeBytes]));
  }
  return blocks;
}

it("the metadata of snapshots tells which blocks hold data, and which changed", async () => {
  const { volumeId } = await make("raw", undefined, { volumeCapabilities: [blockCapability()], parameters: { sparse: "true" } });
  const name = `volumes/${volumeId}`;
  await system.volumes.publishVolume({ name });
  const { volume } = await system.volumes.connectVolume({ name, host: "hosts/hst_take" });
  const path = volume!.attachments[0]!.device;
  const take = system.controlPlane.world.executor("hst_take");
  const write = (content: string) => take.files([{ op: "write", path, content }], { signal: new AbortController().signal });
  const snap = async (snapshot: string): Promise<string> => {
    const made = await driver.controller.createSnapshot({ name: snapshot, sourceVolumeId: volumeId, parameters: { consistency: "crash" } });
    return made.snapshot!.snapshotId;
  };
  await write("a".repeat(65_536));
  const older = await snap("older");
  await write("b".repeat(16_384));
  const newer = await snap("newer");

  expect(await blocksOf(driver.metadata.getMetadataAllocated({ snapshotId: older }))).toEqual([[0n, 65_536n]]);
  expect(await blocksOf(driver.metadata.getMetadataDelta({ baseSnapshotId: older, targetSnapshotId: newer }))).toEqual([[0n, 16_384n]]);
  const behind = { baseSnapshotId: older, targetSnapshotId: newer, startingOffset: 16_384n };
  expect(await blocksOf(driver.metadata.getMetadataDelta(behind))).toEqual([]);
  expect(await codeOf(blocksOf(driver.metadata.getMetadataAllocated({ snapshotId: "gone" })))).toBe("NotFound");
  expect(await codeOf(blocksOf(driver.metadata.getMetadataAllocated({ snapshotId: older, startingOffset: 1n << 40n })))).toBe("OutOfRange");
  expect(await codeOf(blocksOf(driver.metadata.getMetadataDelta({ baseSnapshotId: older })))).toBe("InvalidArgument");

  for (const id of [newer, older]) await removeSnapshot(id);
  await system.volumes.disconnectVolume({ name, host: "hosts/hst_take" });
  await system.volumes.unpublishVolume({ name });
  await removeVolume(volumeId);
});

it("a copy has the filesystem of its source where the class names none, with the mount options that are asked for", async () => {
  const source = await make("source", undefined, { volumeCapabilities: [mountCapability("xfs")], capacityRange: { requiredBytes: 512n * mib } });
  const { snapshot } = await driver.controller.createSnapshot({ name: "snap", sourceVolumeId: source.volumeId });
  const noatime = [mountCapability("", "SINGLE_NODE_WRITER", ["noatime"])];
  const copies = [
    await make("restored", ["snapshot", snapshot!.snapshotId]),
    await make("cloned", ["volume", source.volumeId], { volumeCapabilities: noatime }),
  ];
  const filesystems = await Promise.all(copies.map(async ({ volumeId }) => (await system.volumes.getVolume({ name: `volumes/${volumeId}` })).volume!.filesystem));
  expect(filesystems).toMatchObject([{ type: "xfs", mountOptions: [] }, { type: "xfs", mountOptions: ["noatime"] }]);
  expect(await codeOf(make("other", ["snapshot", snapshot!.snapshotId], { volumeCapabilities: [mountCapability("ext4")] }))).toBe("InvalidArgument");
  await removeSnapshot(snapshot!.snapshotId);
  for (const { volumeId } of [...copies, source]) await removeVolume(volumeId);
});

it("backup software reads a filesystem's snapshot as raw block: the bytes that the ranges name, and never formatted", async () => {
  const source = await make("files", undefined, { parameters: { sparse: "true" } });
  const signal = new AbortController().signal;
  const take = system.controlPlane.world.executor("hst_take");
  const publish = async (volumeId: string, volumeCapability: csi.VolumeCapability): Promise<string> => {
    await driver.controller.controllerPublishVolume({ volumeId, nodeId: "hst_take", volumeCapability });
    await driver.node.nodeStageVolume({ volumeId, stagingTargetPath: `/mnt/${volumeId}`, volumeCapability });
    return (await system.volumes.getVolume({ name: `volumes/${volumeId}` })).volume!.attachments[0]!.device;
  };
  const bytes = async (path: string): Promise<Buffer> => {
    const [answer] = await take.files([{ op: "read", path }], { signal });
    return Buffer.from(answer?.text ?? "");
  };
  const original = await publish(source.volumeId, mountCapability());
  const { snapshot } = await driver.controller.createSnapshot({ name: "snap", sourceVolumeId: source.volumeId });
  const ranges = await blocksOf(driver.metadata.getMetadataAllocated({ snapshotId: snapshot!.snapshotId }));
  expect(ranges.length).toBeGreaterThan(0);
  const before = await bytes(original);

  const raw = [blockCapability()];
  for (const copyMode of ["clone", "full"]) {
    const { volumeId } = await make(copyMode, ["snapshot", snapshot!.snapshotId], { volumeCapabilities: raw, parameters: { copyMode } });
    const copy = await bytes(await publish(volumeId, blockCapability()));
    for (const [offset, size] of ranges) {
      const [from, to] = [Number(offset), Number(offset! + size!)];
      expect(copy.subarray(from, to).equals(before.subarray(from, to))).toBe(true);
    }
    await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath: `/mnt/${volumeId}` });
    await driver.controller.controllerUnpublishVolume({ volumeId });
    // What a raw disk holds nobody knows: it never becomes a filesystem's volume.
    expect(await codeOf(make("back", ["volume", volumeId]))).toBe("InvalidArgument");
    await removeVolume(volumeId);
  }
  await removeSnapshot(snapshot!.snapshotId);
  await driver.node.nodeUnstageVolume({ volumeId: source.volumeId, stagingTargetPath: `/mnt/${source.volumeId}` });
  await driver.controller.controllerUnpublishVolume({ volumeId: source.volumeId });
  await removeVolume(source.volumeId);
});

it("offers exactly what the control plane says it has", async () => {
  const { features } = await system.service.getServerInfo({});
  const { capabilities } = await driver.identity.getPluginCapabilities({});
  const services = capabilities.flatMap(({ type }) => (type.case === "service" ? [type.value.type] : []));
  const { PluginCapability_Service_Type: Type } = csi;
  expect(services.includes(Type.GROUP_CONTROLLER_SERVICE)).toBe(features.includes("group-snapshots"));
  expect(services.includes(Type.SNAPSHOT_METADATA_SERVICE)).toBe(true);
});
