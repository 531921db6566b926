import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, useRealWorld } from "../../src/api/real-world.ts";

// Pools of files, of the layouts in which ZFS reserves most beyond a volume's size.
const world = useRealWorld("capacity");

const layouts: readonly (readonly [name: string, ashift: number, vdev: readonly string[], volblocksize: bigint])[] = [
  ["pair", 12, ["mirror", "/var/tmp/d1", "/var/tmp/d2"], 0n],
  ["parity", 12, ["raidz1", "/var/tmp/d1", "/var/tmp/d2", "/var/tmp/d3"], 8192n],
  ["twofold", 12, ["raidz2", "/var/tmp/d1", "/var/tmp/d2", "/var/tmp/d3", "/var/tmp/d4"], 16_384n],
];

it.each(layouts)("a volume as large as GetCapacity says fits into the pool %s", async (name, ashift, vdev, volblocksize) => {
  const { machines, system } = world;
  const disks = vdev.filter((word) => word.startsWith("/"));
  await output(machines.give, "truncate", "-s", "256M", ...disks);
  await output(machines.give, "zpool", "create", "-O", "mountpoint=none", "-o", `ashift=${ashift}`, name, ...vdev);
  const pools = [{ name: "tank" }, { name, quotaBytes: 120n * mib }];
  await system.hosts.updateHost({ host: { name: give, pools }, updateMask: { paths: ["pools"] } });
  const options = volblocksize === 0n ? {} : { zfsOptions: { volblocksize: volblocksize.toString() } };
  const place = { host: give, pool: name };
  const most = async (sparse = false): Promise<bigint> =>
    (await system.service.getCapacity({ ...place, sparse, volblocksizeBytes: volblocksize })).maximumVolumeBytes;

  await system.volumes.createVolume({ volumeId: "first", volume: { ...place, capacityBytes: 8n * mib, ...options } });
  const largest = await most();
  expect(largest).toBeGreaterThan(40n * mib);
  await expect(system.volumes.createVolume({ volumeId: "more", volume: { ...place, capacityBytes: largest + 4n * mib, ...options } })).rejects.toThrow(
    "resource_exhausted",
  );
  await system.volumes.createVolume({ volumeId: "most", volume: { ...place, capacityBytes: largest, ...options } });
  expect(await most()).toBeLessThan(4n * mib);
  expect(await output(machines.give, "zfs", "get", "-Hp", "-o", "value", "quota", `${name}/zfsilo`)).toBe(String(120n * mib));

  const { pool } = await system.pools.getPool({ name: `${give}/pools/${name}` });
  expect(pool).toMatchObject({ health: "ONLINE", vdev: { name, state: "ONLINE" }, parentDatasets: [{ volumes: 2n, quotaBytes: 120n * mib }] });
  await output(machines.give, "zpool", "offline", name, disks[0] ?? "");
  const degraded = (await system.pools.getPool({ name: `${give}/pools/${name}` })).pool;
  expect(degraded).toMatchObject({ health: "DEGRADED", condition: { reason: "POOL_DEGRADED" } });

  for (const id of ["first", "most"]) await system.volumes.deleteVolume({ name: `volumes/${id}` });
  await system.hosts.updateHost({ host: { name: give, pools: [{ name: "tank" }] }, updateMask: { paths: ["pools"] } });
  await output(machines.give, "zpool", "destroy", name);
  await output(machines.give, "rm", ...disks);
});
