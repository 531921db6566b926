import { Code } from "@connectrpc/connect";
import { VolumeMode } from "@zfsilo/api";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, useRealWorld } from "../../src/api/real-world.ts";

// A pool that goes away under its volumes, and comes back.
const world = useRealWorld("api-pools");
const { create, connect, takeDown } = world;

/** The conditions of host and volume as they are shown after a look at all. */
async function conditions(name: string): Promise<{ readonly host: string | undefined; readonly volume: string | undefined }> {
  const { system } = world;
  await system.volumes.syncVolumes({});
  return {
    host: (await system.hosts.getHost({ name: give })).host?.condition?.reason,
    volume: (await system.volumes.getVolume({ name })).volume?.condition?.reason,
  };
}

const well = { host: undefined, volume: undefined };
const away = { host: "POOL_NOT_IMPORTED", volume: "POOL_NOT_IMPORTED" };

it("exported while a volume is there and not published: told, nothing lost, and all is well after the import", async () => {
  const { machines, system } = world;
  const name = await create("shelved", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  await output(machines.give, "zpool", "export", "tank");
  expect(await conditions(name)).toEqual(away);
  await expect(system.volumes.publishVolume({ name })).rejects.toMatchObject({ code: Code.Unavailable });
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject({ code: Code.Unavailable });
  await output(machines.give, "zpool", "import", "tank");
  expect(await conditions(name)).toEqual(well);
  await connect(name);
  await takeDown(name);
});

it("cannot be exported while a volume is published; after a reboot exports wait until it is imported", async () => {
  const { machines, system } = world;
  const name = await create("held", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  await connect(name);
  const refusal = await machines.give.exec(["zpool", "export", "tank"]);
  expect(refusal).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot export 'tank': pool is busy") as string });
  expect(await conditions(name)).toEqual(well);

  await machines.give.reset();
  await output(machines.give, "zpool", "export", "tank");
  const { differences } = await system.volumes.syncVolume({ name });
  const found = differences.map(({ reason }) => reason);
  expect(found).toEqual(expect.arrayContaining(["POOL_NOT_IMPORTED", "TARGET_MISSING"]));
  expect(await conditions(name)).toEqual(away);
  await output(machines.give, "zpool", "import", "tank");
  expect((await system.volumes.syncVolume({ name })).left).toBe(0n);
  expect(await conditions(name)).toEqual(well);
  await takeDown(name);
});
