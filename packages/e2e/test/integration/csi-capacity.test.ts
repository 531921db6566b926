import { Code, ConnectError } from "@connectrpc/connect";
import type { csi } from "@zfsilo/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { blockCapability, mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

const mib = 1n << 20n;
const gib = 1n << 30n;
/** Of each pool of a simulated host. */
const poolBytes = 64n * gib;

let system: System;
let driver: RunningDriver;
beforeAll(async () => {
  const target = (id: string, pools: readonly object[], labels: object = {}): object => ({
    ...{ id, roles: ["target"], simulated: {}, labels, pools },
    portals: [{ address: `192.0.2.${id.length}` }],
  });
  system = await startSystem({
    hosts: [
      target("one", [{ name: "tank" }, { name: "tank", parentDataset: "tank/gold", quotaBytes: Number(8n * gib) }], { disk: "hdd" }),
      target("fast", [{ name: "flash", overcommitRatio: 1 }], { disk: "nvme" }),
      { id: "hst_take", roles: ["initiator"], simulated: {} },
    ],
  });
  driver = await driverOf(system);
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});

const capacity = (parameters: Record<string, string>, use: readonly csi.VolumeCapability[] = []) =>
  driver.controller.getCapacity({ parameters, volumeCapabilities: [...use] });

async function create(parameters: Record<string, string>, requiredBytes: bigint, use: csi.VolumeCapability): Promise<string> {
  try {
    const { volume } = await driver.controller.createVolume({ name: "probe", parameters, capacityRange: { requiredBytes }, volumeCapabilities: [use] });
    await driver.controller.deleteVolume({ volumeId: volume!.volumeId });
    return String(volume!.capacityBytes);
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
}

describe("GetCapacity of a class", () => {
  it.each([
    ["thick", {}, 2n * poolBytes, "about"],
    // Ten times of tank, once of flash.
    ["sparse", { sparse: "true" }, 11n * poolBytes, "exactly"],
    ["thick, on one host of two entries for one pool", { host: "one" }, poolBytes, "about"],
    ["sparse, where the pool's owner promises nothing twice", { sparse: "true", pool: "flash" }, poolBytes, "exactly"],
    ["thick, on hosts with a label", { "hostLabel.disk": "nvme" }, poolBytes, "about"],
    ["sparse, on hosts with a label", { "hostLabel.disk": "hdd", sparse: "true" }, 10n * poolBytes, "exactly"],
    ["thick, with small blocks", { host: "fast", "zfs.volblocksize": "8192" }, poolBytes, "about"],
    ["on hosts with a label that none has", { "hostLabel.disk": "tape" }, 0n, "exactly"],
  ] as const)("%s: space in all, and a largest volume that CreateVolume makes", async (_what, parameters, whole, how) => {
    const use = blockCapability();
    const { availableCapacity, maximumVolumeSize = 0n } = await capacity(parameters, [use]);
    // ZFS keeps a little of each pool for itself.
    expect(availableCapacity).toBeLessThanOrEqual(whole);
    expect(availableCapacity).toBeGreaterThanOrEqual(how === "exactly" ? whole - whole / 20n : whole - whole / 10n);
    expect(maximumVolumeSize).toBeLessThanOrEqual(poolBytes);
    if (whole === 0n) return;
    expect(await create(parameters, maximumVolumeSize, use)).toBe(String(maximumVolumeSize));
    // A named place is left to ZFS, which may find room in what is kept for the pool's own metadata.
    expect(await create(parameters, maximumVolumeSize + 64n * mib, use)).toBe("ResourceExhausted");
  });

  it("tells the largest volume less than all space, where blocks cost more than they hold", async () => {
    const [small, large] = await Promise.all(["4096", "131072"].map((size) => capacity({ host: "fast", "zfs.volblocksize": size })));
    expect(small!.availableCapacity).toBe(large!.availableCapacity);
    expect(small!.maximumVolumeSize!).toBeLessThan(large!.maximumVolumeSize!);
    expect(large!.maximumVolumeSize!).toBeLessThan(large!.availableCapacity);
  });

  it.each([
    ["raw block", [blockCapability()], {}, 16_384n],
    ["raw block of large blocks", [blockCapability()], { "zfs.volblocksize": "131072" }, 131_072n],
    ["a filesystem", [mountCapability()], {}, 16n * mib],
    ["xfs", [mountCapability("xfs")], {}, 300n * mib],
  ] as const)("tells the smallest volume for %s, which is what one byte gets", async (_what, use, parameters, smallest) => {
    expect((await capacity(parameters, use)).minimumVolumeSize).toBe(smallest);
    expect(await create(parameters, 1n, use[0])).toBe(String(smallest));
  });

  it.each([
    ["a host that is not there", { host: "none" }],
    ["a host that is no target", { host: "hst_take" }],
    ["a pool that its host has not", { host: "one", pool: "flash" }],
    ["a block size that is none", { "zfs.volblocksize": "large" }],
    ["an unknown parameter", { colour: "red" }],
  ])("refuses %s", async (_what, parameters) => {
    await expect(capacity(parameters)).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

it("makes more sparse volumes than their pool could hold", async () => {
  const parameters = { host: "one", sparse: "true" };
  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const { volume } = await driver.controller.createVolume({ name, parameters, capacityRange: { requiredBytes: 40n * gib }, volumeCapabilities: [mountCapability()] });
    ids.push(volume!.volumeId);
  }
  expect(await create({ host: "one" }, 80n * gib, mountCapability())).toBe("ResourceExhausted");
  for (const volumeId of ids) await driver.controller.deleteVolume({ volumeId });
});
