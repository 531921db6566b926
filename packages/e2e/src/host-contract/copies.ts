import { childOf, type CopyProgress } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";
import { read, write } from "./snapshots.ts";

export function copyContract(current: CurrentLab): void {
  describe("copies", () => {
    it("holds the bytes of the snapshot, has marks and options of its own, and shares nothing with its source", async () => {
      const lab = current();
      const { copies, snapshots, zfs, o } = lab;
      const volume = await lab.volume();
      await write(lab, volume, "a".repeat(64 * 1024));
      const { name } = await lab.snapshot(volume, "s1");
      await write(lab, volume, "b".repeat(8192));
      const { dataset, owner } = lab.newOwner();
      lab.defer(() => zfs.destroyOwnedVolume(dataset, owner, o));
      const seen: CopyProgress[] = [];
      const userProperties = { "zfsilo:name": "volumes/copy" };
      const options = { compression: "lz4" };
      const made = await copies.copy(
        { snapshot: name, dataset, owner, userProperties, options, sparse: true, onProgress: (progress) => seen.push(progress) },
        o,
      );
      expect(made).toMatchObject({ dataset, owner, displayName: "volumes/copy", sizeBytes: mib(64), properties: { compression: "lz4" } });
      expect(made.origin).toBeUndefined();
      expect(await snapshots.listOf(dataset, o)).toEqual([]);
      expect(seen[0]?.copiedBytes).toBe(0n);
      expect(seen[0]?.totalBytes).toBeGreaterThanOrEqual(64n * 1024n);
      expect(await snapshots.destroy(name, { snapshot: "snap_s1", cluster: "contract" }, {}, o)).toBe("destroyed");
      const copied = { dataset };
      await lab.zvols.awaitZvolDevice(dataset, o);
      expect(await read(lab, copied, 64 * 1024)).toBe("a".repeat(64 * 1024));
    });

    it("is larger and thick when asked", async () => {
      const lab = current();
      const { copies, zfs, o } = lab;
      const volume = await lab.bareVolume();
      const { name } = await lab.snapshot(volume, "s1");
      const { dataset, owner } = lab.newOwner();
      lab.defer(() => zfs.destroyOwnedVolume(dataset, owner, o));
      const spec = { snapshot: name, dataset, owner, userProperties: {}, options: {}, sparse: false, sizeBytes: mib(96) };
      const made = await copies.copy(spec, o);
      expect(made.sizeBytes).toBe(mib(96));
      expect(made.refreservationBytes).toBeGreaterThanOrEqual(mib(96));
    });

    it("refuses what cannot be copied, and leaves what is there", async () => {
      const lab = current();
      const { copies, zfs, o } = lab;
      const volume = await lab.bareVolume();
      const other = await lab.bareVolume();
      const { name } = await lab.snapshot(volume, "s1");
      const { dataset, owner } = lab.newOwner();
      const spec = { snapshot: name, dataset, owner, userProperties: {}, options: {}, sparse: true };
      const copy = (changes: Partial<typeof spec> & { sizeBytes?: ReturnType<typeof mib>; options?: Record<string, string> }) =>
        refusal(copies.copy({ ...spec, ...changes }, o));
      expect(await copy({ dataset: other.dataset })).toBe("already_exists");
      expect(await copy({ sizeBytes: bytes(mib(64) - 8192n) })).toBe("invalid_argument");
      expect(await copy({ options: { volblocksize: "16384" } })).toBe("invalid_argument");
      expect(await copy({ options: { compression: "nosuch" } })).toBe("invalid_argument");
      expect(await copy({ dataset: childOf(childOf(lab.parent, "none"), "x") })).toBe("precondition");
      const left = (await zfs.listVolumes(lab.parent, o)).map((each) => each.dataset);
      expect(left.sort()).toEqual([volume.dataset, other.dataset].sort());
      expect(await zfs.getVolume(other.dataset, o)).toMatchObject({ guid: other.zvol.guid, owner: other.owner });
    });
  });
}
