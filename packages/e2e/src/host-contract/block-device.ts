import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

export function blockDeviceContract(current: CurrentLab): void {
  describe("zvol devices", () => {
    it("finds the node behind a volume's link, with the size the volume has", async () => {
      const lab = current();
      const { zfs, zvols, o } = lab;
      const { dataset } = await lab.volume();
      const device = await zvols.awaitZvolDevice(dataset, o);
      expect(device).toMatchObject({ sizeBytes: mib(64) });
      expect(device.path).toMatch(/^\/dev\/zd\d+$/);
      expect(device.majorMinor).toMatch(/^\d+:\d+$/);
      await zfs.growVolume(dataset, mib(96), o);
      expect((await zvols.find(device.path, o))?.sizeBytes).toBe(mib(96));
    });

    it("finds nothing where nothing is", async () => {
      const lab = current();
      const { zfs, zvols, o } = lab;
      const { dataset, owner } = await lab.volume();
      const { path } = await zvols.awaitZvolDevice(dataset, o);
      await zfs.destroyOwnedVolume(dataset, owner, o);
      expect(await zvols.find(path, o)).toBeUndefined();
      expect(await refusal(zvols.awaitZvolDevice(dataset, o))).toBe("unavailable");
    });

    it("gives eight volumes made one after another their eight devices", async () => {
      const lab = current();
      const made = await Promise.all(Array.from({ length: 8 }, () => lab.volume()));
      const devices = await Promise.all(made.map(({ dataset }) => lab.zvols.awaitZvolDevice(dataset, lab.o)));
      expect(new Set(devices.map(({ path }) => path)).size).toBe(8);
    });

    it("finds the devices of volumes made all at once, which udev may have lost the links of", async () => {
      const lab = current();
      const { zfs, o } = lab;
      const made = Array.from({ length: 6 }, () => lab.newOwner());
      for (const { dataset } of made) lab.defer(() => zfs.destroyVolume(dataset, o));
      const devices = await Promise.all(
        made.map(async ({ dataset }) => {
          await zfs.createVolume({ dataset, sizeBytes: mib(64), sparse: true, options: {}, userProperties: {} }, o);
          return await lab.zvols.awaitZvolDevice(dataset, o);
        }),
      );
      expect(new Set(devices.map(({ path }) => path)).size).toBe(6);
    });
  });
}
