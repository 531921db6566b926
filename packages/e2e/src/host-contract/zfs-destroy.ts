import { parseDatasetName } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import type { CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

/** Destroying is where a mistake cannot be taken back (I1). */
export function zfsDestroyContract(current: CurrentLab): void {
  describe("destroy", () => {
    it("destroys its own volume, and is done when it is gone already", async () => {
      const lab = current();
      const { zfs, o } = lab;
      const { dataset, owner, zvol } = await lab.bareVolume();
      await zfs.destroyOwnedVolume(dataset, { ...owner, guid: zvol.guid }, o);
      expect(await zfs.findVolume(dataset, o)).toBeUndefined();
      await zfs.destroyOwnedVolume(dataset, owner, o);
      await zfs.destroyVolume(dataset, o);
    });

    it("leaves what belongs to somebody else", async () => {
      const lab = current();
      const { zfs, o, parent } = lab;
      const { dataset, owner } = await lab.bareVolume();
      const unmarked = lab.newOwner();
      lab.defer(() => zfs.destroyVolume(unmarked.dataset, o));
      await lab.command(lab.byHand.target, "zfs", "create", "-s", "-V", "67108864", unmarked.dataset);
      expect(await refusal(zfs.destroyOwnedVolume(dataset, { ...owner, volume: "vol_other" }, o))).toBe("precondition");
      expect(await refusal(zfs.destroyOwnedVolume(dataset, { ...owner, cluster: "other" }, o))).toBe("precondition");
      expect(await refusal(zfs.destroyOwnedVolume(dataset, { ...owner, guid: "1" }, o))).toBe("precondition");
      expect(await refusal(zfs.destroyOwnedVolume(unmarked.dataset, unmarked.owner, o))).toBe("precondition");
      expect(await refusal(zfs.destroyOwnedVolume(parent, owner, o))).toBe("precondition");
      expect(await refusal(zfs.destroyVolume(parseDatasetName(lab.world.pool), o))).toBe("invalid_argument");
      const left = (await zfs.listVolumes(parent, o)).map((volume) => volume.dataset);
      expect(left.sort()).toEqual([dataset, unmarked.dataset].sort());
    });

    it("leaves a volume with a snapshot, and one whose snapshot has a clone", async () => {
      const lab = current();
      const { zfs, o } = lab;
      const { target } = lab.byHand;
      const { dataset, owner } = await lab.bareVolume();
      const clone = lab.newOwner();
      await lab.command(target, "zfs", "snapshot", `${dataset}@s`);
      lab.defer(() => lab.destroyTree(`${dataset}@s`));
      expect(await refusal(zfs.destroyOwnedVolume(dataset, owner, o))).toBe("has_dependents");
      await lab.command(target, "zfs", "clone", `${dataset}@s`, clone.dataset);
      lab.defer(() => zfs.destroyVolume(clone.dataset, o));
      expect(await zfs.getVolume(clone.dataset, o)).toMatchObject({ origin: `${dataset}@s` });
      expect((await zfs.getVolume(clone.dataset, o)).owner).toBeUndefined();
      expect(await refusal(zfs.destroyOwnedVolume(dataset, owner, o))).toBe("has_dependents");
      expect(await zfs.findVolume(dataset, o)).toBeDefined();
    });

    it("leaves an exported volume, and destroys it once the export is gone", async () => {
      const lab = current();
      const { zfs, lio, o } = lab;
      const { dataset, owner, spec } = await lab.exported();
      expect(await refusal(zfs.destroyOwnedVolume(dataset, owner, o))).toBe("busy");
      expect(await zfs.findVolume(dataset, o)).toBeDefined();
      await lio.removeExport(spec, o);
      await zfs.destroyOwnedVolume(dataset, owner, o);
      expect(await zfs.findVolume(dataset, o)).toBeUndefined();
    });
  });
}
