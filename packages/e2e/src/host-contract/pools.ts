import { largestThickVolume, parseDatasetName, parsePoolName, stripesOf, thickReservation } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

/** Pools as a whole, and whether ZFS reserves what we compute. */
export function poolContract(current: CurrentLab): void {
  describe("pools", () => {
    it("are listed, and show their devices", async () => {
      const lab = current();
      const { zpools, o } = lab;
      const name = parsePoolName(lab.world.pool);
      expect((await zpools.list(o)).find((pool) => pool.name === name)).toMatchObject({ health: "ONLINE", readonly: false });
      const status = await zpools.status(name, o);
      expect(status).toMatchObject({ name, state: "ONLINE", problem: "", dataErrors: 0n, root: { name, state: "ONLINE" } });
      expect(status.root?.children[0]).toMatchObject({ state: "ONLINE", readErrors: 0n });
      expect(await refusal(zpools.status(parsePoolName("nopool"), o))).toBe("not_found");
    });

    it("tell the space of several datasets, and of none that is not there", async () => {
      const lab = current();
      const { zpools, o, parent } = lab;
      const root = parseDatasetName(lab.world.pool);
      const spaces = await zpools.spaces([root, parent, parseDatasetName(`${parent}/none`)], o);
      expect([...spaces.keys()].sort()).toEqual([root, parent].sort());
    });

    it("take a quota, give it back, and refuse one below what is in use", async () => {
      const lab = current();
      const { zpools, o, parent } = lab;
      lab.defer(() => zpools.setQuota(parent, 0n, o));
      await zpools.setQuota(parent, mib(512), o);
      expect((await zpools.spaces([parent], o)).get(parent)?.quotaBytes).toBe(mib(512));
      expect(await refusal(zpools.setQuota(parent, 1n, o))).toBe("precondition");
      await zpools.setQuota(parent, 0n, o);
    });

    it.each([4096n, 8192n, 65_536n])("reserve what we compute for blocks of %s, and hold the largest volume we say", async (volblocksize) => {
      const lab = current();
      const { zpools, zfs, o, parent } = lab;
      const name = parsePoolName(lab.world.pool);
      const facts = (await zpools.list(o)).find((pool) => pool.name === name);
      const layout = { stripes: stripesOf((await zpools.status(name, o)).root), ashift: facts?.ashift ?? 0 };
      const make = async (sizeBytes: bigint) => {
        const { dataset, owner } = lab.newOwner();
        lab.defer(() => zfs.destroyOwnedVolume(dataset, owner, o));
        const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster } as const;
        const options = { volblocksize: volblocksize.toString() };
        return await zfs.createVolume({ dataset, sizeBytes: bytes(sizeBytes), sparse: false, options, userProperties }, o);
      };
      lab.defer(() => zpools.setQuota(parent, 0n, o));
      await zpools.setQuota(parent, mib(256), o);
      const first = await make(mib(64));
      expect(first.refreservationBytes).toBe(thickReservation(mib(64), volblocksize, layout));
      const left = (await zpools.spaces([parent], o)).get(parent)?.availableBytes ?? 0n;
      const largest = largestThickVolume(left, volblocksize, [volblocksize], layout);
      expect(largest).toBeGreaterThan(mib(100));
      expect(await refusal(make(largest + volblocksize))).toBe("no_space");
      expect((await make(largest)).refreservationBytes).toBe(thickReservation(largest, volblocksize, layout));
    });
  });
}
