import { ClonePolicy, Consistency, CopyMode, SnapshotPolicy, VolumeMode } from "@zfsilo/api";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { mib, take, useRealWorld } from "../../src/api/real-world.ts";

const world = useRealWorld("snapshots");
const { create, connect, takeDown } = world;

const onTake = (script: string): Promise<string> => output(world.machines.take, "sh", "-ec", script);
const sha = async (path: string): Promise<string> => (await onTake(`sha256sum < ${path}`)).split(" ")[0] ?? "";

async function snapshot(id: string, volume: string, consistency: Consistency = Consistency.CRASH): Promise<string> {
  await world.system.snapshots.createSnapshot({ snapshotId: id, snapshot: { volume, consistency } });
  return `snapshots/${id}`;
}

async function clone(id: string, from: string, copyMode: CopyMode = CopyMode.CLONE, mode: VolumeMode = VolumeMode.UNSPECIFIED): Promise<string> {
  await world.system.volumes.createVolume({
    volumeId: id,
    volume: { sparse: true, mode, source: { source: { case: "snapshot", value: from }, copyMode } },
  });
  return `volumes/${id}`;
}

const stage = (name: string, path: string): Promise<unknown> => world.system.volumes.stageVolume({ name, host: take, stagingPath: path });
const unstage = (name: string): Promise<unknown> => world.system.volumes.unstageVolume({ name, host: take });
const deleteSnapshot = (name: string): Promise<unknown> => world.system.snapshots.deleteSnapshot({ name, allowMissing: true, clonePolicy: ClonePolicy.TOMBSTONE });

it("a snapshot taken under a running writer is clean with a freeze, and recovers its journal without", async () => {
  const name = await create("written", VolumeMode.FILESYSTEM, { fsType: "ext4" });
  await connect(name);
  await stage(name, "/mnt/written");
  await onTake("(for i in $(seq 2000); do echo $i > /mnt/written/f$((i % 50)); sync -f /mnt/written; done) > /dev/null 2>&1 & echo $! > /run/writer");
  const frozen = await snapshot("frozen", name, Consistency.FILESYSTEM);
  const crash = await snapshot("crash", name);
  await onTake("kill $(cat /run/writer) || true; sleep 1; echo done > /mnt/written/last");
  expect(await onTake("cat /mnt/written/last")).toBe("done");
  for (const [from, needsRecovery] of [[frozen, false], [crash, true]] as const) {
    const copy = await clone(`of-${from.slice("snapshots/".length)}`, from);
    const device = await connect(copy);
    expect((await onTake(`dumpe2fs -h ${device} 2>/dev/null`)).includes("needs_recovery")).toBe(needsRecovery);
    await stage(copy, "/mnt/copy");
    expect(Number(await onTake("cat /mnt/copy/f1 || echo 1"))).toBeGreaterThan(0);
    await unstage(copy);
    await takeDown(copy);
  }
  await unstage(name);
  for (const one of [frozen, crash]) await deleteSnapshot(one);
  await takeDown(name);
});

it("a group of two volumes that are written in lockstep never disagrees", async () => {
  const names = await Promise.all(["one", "two"].map((id) => create(id, VolumeMode.BLOCK, { capacityBytes: 64n * mib })));
  const [first, second] = [await connect(names[0]!), await connect(names[1]!)];
  const write = (device: string): string => `printf '%-512s' $i | dd of=${device} bs=512 count=1 oflag=direct conv=notrunc status=none`;
  await onTake(`(i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); ${write(first)}; ${write(second)}; done) > /dev/null 2>&1 & echo $! > /run/writer`);
  for (const round of [1, 2, 3]) {
    const { groupSnapshot } = await world.system.groups.createGroupSnapshot({ groupSnapshotId: `group-${round}`, groupSnapshot: { volumes: names } });
    const copies = await Promise.all(groupSnapshot!.snapshots.map((from, index) => clone(`copy-${round}-${index}`, from)));
    const counters: number[] = [];
    for (const copy of copies) counters.push(Number(await onTake(`head -c 512 ${await connect(copy)}`)));
    // The second follows the first: it has the same count, or the one before.
    expect([0, 1]).toContain(counters[0]! - counters[1]!);
    expect(counters[0]).toBeGreaterThan(0);
    for (const copy of copies) await takeDown(copy);
    await world.system.groups.deleteGroupSnapshot({ name: `groupSnapshots/group-${round}` });
  }
  await onTake("kill $(cat /run/writer) || true; sleep 1");
  for (const name of names) await takeDown(name);
});

it("an xfs clone is mounted beside its origin, and a full copy beside both", async () => {
  const name = await create("xfs", VolumeMode.FILESYSTEM, { capacityBytes: 512n * mib, fsType: "xfs" });
  await connect(name);
  await stage(name, "/mnt/origin");
  await onTake("head -c 4194304 /dev/urandom > /mnt/origin/data; sync");
  const written = await sha("/mnt/origin/data");
  const from = await snapshot("xfs-snap", name);
  await onTake("head -c 4194304 /dev/urandom > /mnt/origin/data; sync");
  const copies = [await clone("xfs-clone", from), await clone("xfs-copy", from, CopyMode.FULL)];
  for (const [index, copy] of copies.entries()) {
    await connect(copy);
    await stage(copy, `/mnt/copy${index}`);
    expect(await sha(`/mnt/copy${index}/data`)).toBe(written);
  }
  expect(await sha("/mnt/origin/data")).not.toBe(written);
  // For backup software: the filesystem's disk as it is.
  const raw = await clone("xfs-raw", from, CopyMode.CLONE, VolumeMode.BLOCK);
  expect(await onTake(`head -c 4 ${await connect(raw)}`)).toBe("XFSB");
  await takeDown(raw);
  for (const copy of copies) {
    expect((await world.system.volumes.syncVolume({ name: copy })).differences).toEqual([]);
    await unstage(copy);
    await takeDown(copy);
  }
  await unstage(name);
  await world.system.volumes.disconnectVolume({ name, host: take });
  await world.system.snapshots.rollbackVolume({ name, snapshot: from });
  await world.system.volumes.connectVolume({ name, host: take });
  await stage(name, "/mnt/origin");
  expect(await sha("/mnt/origin/data")).toBe(written);
  await unstage(name);
  await deleteSnapshot(from);
  await takeDown(name);
});

it("changed ranges applied to the older copy give the newer one exactly", async () => {
  const name = await create("changing", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  const device = await connect(name);
  const scatter = (seed: number): string => [3, 17, 40, 63].map((at) => `dd if=/dev/urandom of=${device} bs=64K seek=${at * 16 + seed} count=3 conv=notrunc,fsync status=none`).join("\n");
  await onTake(scatter(0));
  const older = await snapshot("older", name);
  await onTake(`${scatter(2)}\nblkdiscard -o 1048576 -l 1048576 ${device} || dd if=/dev/zero of=${device} bs=1M seek=1 count=1 conv=notrunc,fsync status=none`);
  const newer = await snapshot("newer", name);
  const ranges: { offset: bigint; length: bigint }[] = [];
  for await (const message of world.system.snapshots.listChangedRanges({ base: older, target: newer, maxRanges: 2 })) {
    expect(message.capacityBytes).toBe(64n * mib);
    ranges.push(...message.ranges);
  }
  const copies = [await clone("older-copy", older), await clone("newer-copy", newer)];
  const [from, to] = [await connect(copies[1]!), await connect(copies[0]!)];
  expect(await sha(to)).not.toBe(await sha(from));
  const apply = ranges.map(({ offset, length }) => `dd if=${from} of=${to} bs=1M iflag=skip_bytes,count_bytes oflag=seek_bytes skip=${offset} seek=${offset} count=${length} conv=notrunc,fsync status=none`);
  await onTake(apply.join("\n"));
  expect(await sha(to)).toBe(await sha(from));
  for (const copy of copies) await takeDown(copy);
  for (const one of [older, newer]) await deleteSnapshot(one);
  await takeDown(name);
});

/** Orders in which each of promotion, tombstones and deletion with snapshots has its turn; all 120 run simulated. */
it.each([
  ["volumes/root", "snapshots/low", "volumes/mid", "snapshots/high", "volumes/top"],
  ["snapshots/high", "snapshots/low", "volumes/root", "volumes/mid", "volumes/top"],
  ["volumes/mid", "volumes/root", "volumes/top", "snapshots/low", "snapshots/high"],
  ["volumes/top", "snapshots/high", "volumes/mid", "snapshots/low", "volumes/root"],
])("a tree of clones deleted as %s, %s, %s, %s, %s leaves nothing", async (...order) => {
  const root = await create("root", VolumeMode.BLOCK, { capacityBytes: 32n * mib });
  const mid = await clone("mid", await snapshot("low", root));
  await clone("top", await snapshot("high", mid));
  for (const name of order) {
    if (name.startsWith("snapshots/")) {
      await deleteSnapshot(name);
      continue;
    }
    const remove = (snapshotPolicy: SnapshotPolicy): Promise<unknown> => world.system.volumes.deleteVolume({ name, snapshotPolicy });
    await remove(SnapshotPolicy.PROMOTE_CLONE).catch(() => remove(SnapshotPolicy.DELETE));
  }
  expect((await world.system.snapshots.listSnapshots({ showTombstoned: true })).snapshots).toEqual([]);
});
