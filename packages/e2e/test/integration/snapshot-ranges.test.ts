import { Code } from "@connectrpc/connect";
import { VolumeMode } from "@zfsilo/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";

const signal = new AbortController().signal;
const kib = 1024;

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system.stop());

const device = async (name: string): Promise<string> => {
  await system.volumes.publishVolume({ name });
  const { volume } = await system.volumes.connectVolume({ name, host: "hosts/hst_take" });
  return volume?.attachments[0]?.device ?? "";
};
const write = (path: string, content: string): Promise<unknown> =>
  system.controlPlane.world.executor("hst_take").files([{ op: "write", path, content }], { signal });
const take = (snapshotId: string): Promise<unknown> => system.snapshots.createSnapshot({ snapshotId, snapshot: { volume: "volumes/raw" } });

/** Every message of a stream: [offset, length] in KiB. */
async function read(stream: AsyncIterable<{ ranges: { offset: bigint; length: bigint }[]; capacityBytes: bigint }>): Promise<number[][][]> {
  const messages: number[][][] = [];
  for await (const { ranges, capacityBytes } of stream) {
    expect(capacityBytes).toBe(64n << 20n);
    messages.push(ranges.map(({ offset, length }) => [Number(offset) / kib, Number(length) / kib]));
  }
  return messages;
}

describe("ranges over gRPC", () => {
  beforeAll(async () => {
    await system.volumes.createVolume({ volumeId: "raw", volume: { host: "hosts/hst_give", capacityBytes: 64n << 20n, sparse: true, mode: VolumeMode.BLOCK } });
    const path = await device("volumes/raw");
    await take("empty");
    await write(path, "a".repeat(64 * kib));
    await take("older");
    await write(path, "b".repeat(16 * kib));
    await take("newer");
  });

  it("tell where data lies, and where two snapshots differ", async () => {
    expect(await read(system.snapshots.listAllocatedRanges({ name: "snapshots/empty" }))).toEqual([[]]);
    expect(await read(system.snapshots.listAllocatedRanges({ name: "snapshots/older" }))).toEqual([[[0, 64]]]);
    expect(await read(system.snapshots.listChangedRanges({ base: "snapshots/older", target: "snapshots/newer" }))).toEqual([[[0, 16]]]);
    const behind = { base: "snapshots/older", target: "snapshots/newer", startOffset: BigInt(16 * kib) };
    expect(await read(system.snapshots.listChangedRanges(behind))).toEqual([[]]);
  });

  it.each([
    ["of a snapshot that is not there", { base: "snapshots/older", target: "snapshots/none" }, Code.NotFound],
    ["in the wrong order", { base: "snapshots/newer", target: "snapshots/older" }, Code.InvalidArgument],
    ["with too many in a message", { base: "snapshots/older", target: "snapshots/newer", maxRanges: 5000 }, Code.InvalidArgument],
    ["from before the beginning", { base: "snapshots/older", target: "snapshots/newer", startOffset: -1n }, Code.InvalidArgument],
    ["from beyond the end", { base: "snapshots/older", target: "snapshots/newer", startOffset: 1n << 40n }, Code.InvalidArgument],
  ])("%s are refused", async (_what, request, code) => {
    await expect(read(system.snapshots.listChangedRanges(request))).rejects.toMatchObject({ code });
  });

  it("of two volumes are refused", async () => {
    await system.volumes.createVolume({ volumeId: "other", volume: { host: "hosts/hst_give", capacityBytes: 64n << 20n, sparse: true, mode: VolumeMode.BLOCK } });
    await system.snapshots.createSnapshot({ snapshotId: "other", snapshot: { volume: "volumes/other" } });
    const request = { base: "snapshots/older", target: "snapshots/other" };
    await expect(read(system.snapshots.listChangedRanges(request))).rejects.toMatchObject({ code: Code.FailedPrecondition });
  });

  it("let go of the snapshot when the caller stops reading", async () => {
    for await (const _message of system.snapshots.listAllocatedRanges({ name: "snapshots/newer", maxRanges: 1 })) break;
    await system.snapshots.deleteSnapshot({ name: "snapshots/newer" });
    expect((await system.snapshots.listSnapshots({})).snapshots.map(({ name }) => name)).not.toContain("snapshots/newer");
  });
});
