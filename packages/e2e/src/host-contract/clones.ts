import { childOf, snapshotOf } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";
import { read, write } from "./snapshots.ts";

export function cloneContract(current: CurrentLab): void {
  describe("clones", () => {
    it("shows the bytes of the snapshot, and keeps its own from then on", async () => {
      const lab = current();
      const volume = await lab.volume();
      await write(lab, volume, "a".repeat(16_384));
      const { name } = await lab.snapshot(volume, "s1");
      await write(lab, volume, "b".repeat(8192));
      const clone = await lab.clone(name);
      expect(clone.zvol).toMatchObject({ owner: clone.owner, origin: name, sizeBytes: mib(64), refreservationBytes: 0n });
      await lab.zvols.awaitZvolDevice(clone.dataset, lab.o);
      expect(await read(lab, clone, 16_384)).toBe("a".repeat(16_384));
      await write(lab, clone, "c".repeat(8192));
      expect(await read(lab, clone, 16_384)).toBe(`${"c".repeat(8192)}${"a".repeat(8192)}`);
      expect(await read(lab, volume, 16_384)).toBe(`${"b".repeat(8192)}${"a".repeat(8192)}`);
    });

    it("is larger than its source, thick, and has options of its own when asked", async () => {
      const lab = current();
      const volume = await lab.volume({ sparse: false });
      const { name } = await lab.snapshot(volume, "s1");
      const options = { compression: "lz4", sync: "always" };
      const { zvol } = await lab.clone(name, { sizeBytes: mib(96), sparse: false, options });
      expect(zvol).toMatchObject({ sizeBytes: mib(96), properties: { compression: "lz4", sync: "always" } });
      expect(zvol.refreservationBytes).toBeGreaterThanOrEqual(mib(96));
      const same = await lab.clone(name, { sparse: false });
      expect(same.zvol.refreservationBytes).toBeGreaterThanOrEqual(mib(64));
    });

    it("refuses what cannot be cloned, and makes nothing", async () => {
      const lab = current();
      const { clones, zfs, o } = lab;
      const volume = await lab.bareVolume();
      const { name } = await lab.snapshot(volume, "s1");
      const { dataset, owner } = lab.newOwner();
      const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster };
      const spec = { snapshot: name, dataset, sparse: true, options: {}, userProperties };
      const clone = (changes: Partial<typeof spec> & { sizeBytes?: ReturnType<typeof mib>; options?: Record<string, string> }) =>
        refusal(clones.clone({ ...spec, ...changes }, o));
      expect(await clone({ snapshot: snapshotOf(volume.dataset, "none") })).toBe("not_found");
      expect(await clone({ sizeBytes: bytes(mib(64) - 8192n) })).toBe("invalid_argument");
      expect(await clone({ options: { volblocksize: "16384" } })).toBe("invalid_argument");
      expect(await clone({ options: { compression: "nosuch" } })).toBe("invalid_argument");
      expect(await clone({ dataset: volume.dataset })).toBe("already_exists");
      expect(await clone({ dataset: childOf(childOf(lab.parent, "none"), "x") })).toBe("precondition");
      expect(await clone({ dataset: childOf(volume.dataset, "x") })).toBe("precondition");
      expect((await zfs.listVolumes(lab.parent, o)).map((each) => each.dataset)).toEqual([volume.dataset]);
    });

    it("takes its origin's snapshots over when it is promoted", async () => {
      const lab = current();
      const { clones, snapshots, zfs, o } = lab;
      const volume = await lab.volume();
      await write(lab, volume, "a".repeat(16_384));
      const first = await lab.snapshot(volume, "s1");
      const second = await lab.snapshot(volume, "s2");
      const third = await lab.snapshot(volume, "s3");
      const clone = await lab.clone(second.name);
      lab.defer(async () => {
        for (const { handle } of [first, second]) await lab.dropSnapshot(snapshotOf(clone.dataset, handle));
      });
      // The clone cannot go before what has become a clone of it.
      lab.defer(() => zfs.destroyOwnedVolume(volume.dataset, volume.owner, o));
      lab.defer(() => lab.dropSnapshot(third.name));
      const promoted = await clones.promote(clone.dataset, o);
      expect(promoted.origin).toBeUndefined();
      expect((await clones.promote(clone.dataset, o)).guid).toBe(promoted.guid);
      expect((await zfs.getVolume(volume.dataset, o)).origin).toBe(snapshotOf(clone.dataset, "s2"));
      const moved = await snapshots.listOf(clone.dataset, o);
      expect(moved.map(({ guid }) => guid)).toEqual([first.taken.guid, second.taken.guid]);
      expect(moved[0]).toMatchObject({ owner: "snap_s1", volume: clone.owner.volume });
      expect((await snapshots.listOf(volume.dataset, o)).map(({ guid }) => guid)).toEqual([third.taken.guid]);
      expect(await refusal(clones.promote(lab.newOwner().dataset, o))).toBe("not_found");
      await lab.zvols.awaitZvolDevice(clone.dataset, o);
      expect(await read(lab, clone, 8192)).toBe("a".repeat(8192));
      expect(await read(lab, volume, 8192)).toBe("a".repeat(8192));
    });
  });
}
