import { parseHostPath, type FsType } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

const uuid = "0c000000-0000-4000-8000-0000000000aa";
const otherUuid = "0c000000-0000-4000-8000-0000000000bb";

/** mkfs.xfs of xfsprogs 6.1 makes nothing below 300 MiB. */
const kinds: readonly (readonly [FsType, number])[] = [
  ["ext4", 64],
  ["xfs", 320],
];

export function filesystemContract(current: CurrentLab): void {
  describe("filesystems", () => {
    it.each(kinds)("makes %s on a blank volume, and never a second time", async (type, size) => {
      const lab = current();
      const { targetFilesystems: filesystems, zvols, o } = lab;
      const { dataset } = await lab.volume({ sizeBytes: mib(size) });
      const { path: device } = await zvols.awaitZvolDevice(dataset, o);
      expect(await filesystems.probe(device, o)).toEqual({ kind: "blank" });
      expect(await refusal(filesystems.sizeBytes(device, type, o))).toBe("precondition");
      await filesystems.make({ device, type, uuid, options: {} }, o);
      const made = { kind: "filesystem", type, uuid };
      expect(await filesystems.probe(device, o)).toEqual(made);
      for (const second of ["ext4", "xfs"] as const) {
        const again = filesystems.make({ device, type: second, uuid: otherUuid, options: {} }, o);
        expect(await refusal(again)).toBe("precondition");
      }
      expect(await filesystems.probe(device, o)).toEqual(made);
      expect((await filesystems.check(device, type, o)).state).toBe("clean");
      expect(await filesystems.sizeBytes(device, type, o)).toBe(mib(size));
    });

    it.each(kinds)("tells that %s is whole, and makes it on a volume that was erased", async (type, size) => {
      const lab = current();
      const { targetFilesystems: filesystems, zvols, o } = lab;
      const { dataset } = await lab.volume({ sizeBytes: mib(size) });
      const { path: device } = await zvols.awaitZvolDevice(dataset, o);
      await filesystems.make({ device, type, uuid, options: {} }, o);
      expect(await filesystems.isComplete(device, type, o)).toBe(true);
      await filesystems.eraseStart(dataset, o);
      expect(await filesystems.probe(device, o)).toEqual({ kind: "blank" });
      await filesystems.make({ device, type, uuid: otherUuid, options: {} }, o);
      expect(await filesystems.isComplete(device, type, o)).toBe(true);
      expect((await filesystems.check(device, type, o)).state).toBe("clean");
    });

    it("takes data without a signature for data", async () => {
      const lab = current();
      const { targetFilesystems: filesystems, zvols, o } = lab;
      const { dataset } = await lab.volume();
      const { path: device } = await zvols.awaitZvolDevice(dataset, o);
      await lab.byHand.target.files([{ op: "write", path: device, content: `${"\0".repeat(5000)}data` }], o);
      expect(await filesystems.probe(device, o)).toEqual({ kind: "data" });
      expect(await refusal(filesystems.make({ device, type: "ext4", uuid, options: {} }, o))).toBe("precondition");
      expect((await filesystems.probe(device, o)).kind).toBe("data");
    });

    it("calls no device blank that it cannot read", async () => {
      const { targetFilesystems: filesystems, o } = current();
      expect(await refusal(filesystems.probe("/dev/zd9999", o))).toBe("unavailable");
      expect(await refusal(filesystems.make({ device: "/dev/zd9999", type: "xfs", uuid, options: {} }, o))).toBe("unavailable");
    });

    it("refuses a volume too small for the filesystem, and a check where there is none", async () => {
      const lab = current();
      const { targetFilesystems: filesystems, zvols, o } = lab;
      const { dataset } = await lab.volume();
      const { path: device } = await zvols.awaitZvolDevice(dataset, o);
      expect(await refusal(filesystems.make({ device, type: "xfs", uuid, options: {} }, o))).toBe("invalid_argument");
      expect(await filesystems.probe(device, o)).toEqual({ kind: "blank" });
      expect(await refusal(filesystems.check(device, "ext4", o))).toBe("precondition");
      const mountPoint = parseHostPath("/mnt");
      expect(await refusal(filesystems.grow({ device, mountPoint, type: "ext4" }, o))).toBe("precondition");
      expect(await refusal(lab.past.targetFilesystems.grow({ device, mountPoint, type: "xfs" }, o))).toBe("precondition");
    });

    it.each(kinds)("grows a mounted %s with its volume", async (type, size) => {
      const lab = current();
      const { zfs, disks, filesystems, mounts, o } = lab;
      const { volume, device } = await lab.connected({ sizeBytes: mib(size) });
      const options: Record<string, string> =
        type === "ext4" ? { reserved_percent: "0", orphan_file: "0" } : { reflink: "0", bigtime: "0", inobtcount: "0", nrext64: "0" };
      await filesystems.make({ device: device.path, type, uuid, options, deviceBytes: mib(size) }, o);
      if (type === "ext4") expect((await filesystems.extent(device.path, type, o)).ext4).toEqual({ blockBytes: 4096, wide: true });
      const mountPoint = lab.place(`grow-${type}`);
      await mounts.mountDevice({ device: device.path, target: mountPoint, type, options: [], readOnly: false }, o);
      const before = await filesystems.stats(mountPoint, o);
      expect(before.totalBytes).toBeGreaterThan(mib(size / 2));
      expect(before.totalBytes).toBeLessThanOrEqual(mib(size));
      expect(before.freeBytes).toBeLessThanOrEqual(before.totalBytes);
      expect(before.totalInodes).toBeGreaterThan(before.freeInodes);
      await zfs.growVolume(volume.dataset, mib(size * 2), o);
      await disks.awaitSize(device.path, mib(size * 2), o);
      expect(await filesystems.sizeBytes(device.path, type, o)).toBe(mib(size));
      const grow = () => filesystems.grow({ device: device.path, mountPoint, type }, o);
      await grow();
      await grow();
      expect(await filesystems.sizeBytes(device.path, type, o)).toBe(mib(size * 2));
      expect((await filesystems.stats(mountPoint, o)).totalBytes).toBeGreaterThan(mib(size));
      if (type === "xfs") return;
      // Almost a thousand times what it was made with.
      const far = mib(60 << 10);
      await zfs.growVolume(volume.dataset, far, o);
      await disks.awaitSize(device.path, far, o);
      await grow();
      expect(await filesystems.sizeBytes(device.path, type, o)).toBe(far);
    });
  });
}
