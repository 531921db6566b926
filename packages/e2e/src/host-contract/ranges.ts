import { snapshotOf, zvolPath, type ByteRange } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab, type Lab } from "./lab.ts";
import { refusal } from "./refusal.ts";
import { read, write } from "./snapshots.ts";

const KiB = 1024;

export function rangeContract(current: CurrentLab): void {
  describe("ranges", () => {
    it("tells where data lies, and where two snapshots differ", async () => {
      const lab = current();
      const { ranges, o } = lab;
      const volume = await lab.volume();
      const empty = await lab.snapshot(volume, "s0");
      await write(lab, volume, "a".repeat(64 * KiB));
      const first = await lab.snapshot(volume, "s1");
      await write(lab, volume, "b".repeat(16 * KiB));
      const second = await lab.snapshot(volume, "s2");
      const same = await lab.snapshot(volume, "s3");
      expect(await all(ranges.allocated(empty.name, {}, o))).toEqual([]);
      expect(await all(ranges.allocated(first.name, {}, o))).toEqual([[0, 64 * KiB]]);
      expect(await all(ranges.allocated(second.name, {}, o))).toEqual([[0, 64 * KiB]]);
      // Holes may come along on a real volume: what is told within the data is exact.
      const within = async (query: AsyncIterable<readonly ByteRange[]>): Promise<[number, number][]> =>
        (await all(query)).filter(([offset]) => offset < 64 * KiB).map(([offset, length]) => [offset, Math.min(length, 64 * KiB - offset)]);
      expect(await within(ranges.changed(empty.name, first.name, {}, o))).toEqual([[0, 64 * KiB]]);
      expect(await within(ranges.changed(first.name, second.name, {}, o))).toEqual([[0, 16 * KiB]]);
      expect(await all(ranges.changed(second.name, same.name, {}, o))).toEqual([]);
      expect(await within(ranges.changed(first.name, second.name, { startOffset: bytes(16 * KiB) }, o))).toEqual([]);
    });

    it("refuses snapshots that are not there, or in the wrong order", async () => {
      const lab = current();
      const { ranges, o } = lab;
      const volume = await lab.bareVolume();
      const first = await lab.snapshot(volume, "s1");
      const second = await lab.snapshot(volume, "s2");
      const none = snapshotOf(volume.dataset, "none");
      expect(await refusal(all(ranges.allocated(none, {}, o)))).toBe("not_found");
      expect(await refusal(all(ranges.changed(none, second.name, {}, o)))).toBe("not_found");
      expect(await refusal(all(ranges.changed(second.name, first.name, {}, o)))).toBe("invalid_argument");
      expect(await refusal(all(ranges.changed(first.name, first.name, {}, o)))).toBe("invalid_argument");
    });

    it("leaves the snapshot free when nobody reads on", async () => {
      const lab = current();
      const { ranges, snapshots, o } = lab;
      const volume = await lab.volume();
      await write(lab, volume, "a".repeat(1024 * KiB));
      const { name } = await lab.snapshot(volume, "s1");
      for await (const batch of ranges.allocated(name, {}, o)) {
        expect(batch.length).toBeGreaterThan(0);
        break;
      }
      expect(await snapshots.destroy(name, { snapshot: "snap_s1", cluster: "contract" }, {}, o)).toBe("destroyed");
    });

    it("names every difference on a real volume: writes, discards and growth anywhere", async () => {
      const lab = current();
      if (lab.world.kind !== "real") return;
      await scattered(lab);
    });
  });
}

/** Applies the changed ranges of the newer snapshot to a clone of the older one, and compares the two. */
async function scattered(lab: Lab): Promise<void> {
  const { ranges, zvols, zfs, o } = lab;
  const { target } = lab.byHand;
  const volume = await lab.volume();
  const path = zvolPath(volume.dataset);
  const put = (block: number, count: number): Promise<string> =>
    lab.command(target, "dd", "if=/dev/urandom", `of=${path}`, "bs=8192", `seek=${block}`, `count=${count}`, "conv=fsync,notrunc", "status=none");
  await put(0, 40);
  await put(1000, 3);
  await put(8190, 2);
  const first = await lab.snapshot(volume, "s1");
  await put(7, 1);
  await put(20, 2);
  await put(4000, 5);
  await lab.command(target, "blkdiscard", "-o", String(30 * 8192), "-l", String(5 * 8192), path);
  await lab.command(target, "blkdiscard", "-o", String(8190 * 8192), "-l", String(2 * 8192), path);
  await lab.command(target, "sync", path);
  await zfs.growVolume(volume.dataset, mib(96), o);
  await put(9000, 1);
  const second = await lab.snapshot(volume, "s2");
  const allocated = await all(ranges.allocated(first.name, {}, o));
  expect(allocated).toEqual([[0, 40 * 8192], [1000 * 8192, 3 * 8192], [8190 * 8192, 2 * 8192]]);
  const changed = await all(ranges.changed(first.name, second.name, {}, o));
  const covers = (block: number): boolean => changed.some(([at, length]) => at <= block * 8192 && (block + 1) * 8192 <= at + length);
  for (const block of [7, 20, 21, 30, 34, 4000, 4004, 8190, 8191, 9000]) expect(covers(block)).toBe(true);
  // Data that stayed is not told, whatever holes there are around it.
  for (const block of [0, 6, 8, 19, 22, 29, 35, 39, 1000, 1002]) expect(covers(block)).toBe(false);
  const older = await lab.clone(first.name, { sizeBytes: mib(96) });
  const newer = await lab.clone(second.name);
  const [to, from] = [await zvols.awaitZvolDevice(older.dataset, o), await zvols.awaitZvolDevice(newer.dataset, o)];
  for (const [offset, length] of changed) {
    const counts = ["bs=8192", `skip=${offset / 8192}`, `seek=${offset / 8192}`, `count=${length / 8192}`];
    await lab.command(target, "dd", `if=${from.path}`, `of=${to.path}`, ...counts, "conv=fsync,notrunc", "status=none");
  }
  await lab.command(target, "cmp", from.path, to.path);
  expect((await read(lab, newer, 8192)).length).toBeGreaterThan(0);
}

async function all(batches: AsyncIterable<readonly ByteRange[]>): Promise<[offset: number, length: number][]> {
  const found: [number, number][] = [];
  for await (const batch of batches) found.push(...batch.map(({ offset, length }): [number, number] => [Number(offset), Number(length)]));
  return found;
}
