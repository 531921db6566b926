import { HostState, VolumeMode } from "@zfsilo/api";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { mib, take, useRealWorld } from "../../src/api/real-world.ts";

// Agents inside both machines; the control plane holds no ssh key.
const world = useRealWorld("agent", { reach: "agent" });

const stagingPath = "/mnt/stage";
const targetPath = "/mnt/target";

/** Every call of a volume's life with a filesystem on it, looked at on the machines themselves. */
async function life(id: string): Promise<void> {
  const { machines, system } = world;
  const name = await world.create(id, VolumeMode.FILESYSTEM, { fsType: "ext4" });
  await world.connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath });
  await system.volumes.mountVolume({ name, host: take, targetPath });
  await output(machines.take, "dd", "if=/dev/urandom", `of=${targetPath}/data`, "bs=1M", "count=16", "conv=fsync", "status=none");
  const written = await output(machines.take, "sha256sum", `${targetPath}/data`);
  await system.volumes.updateVolume({ volume: { name, capacityBytes: 512n * mib }, updateMask: { paths: ["capacity_bytes"] } });
  const { filesystems } = await system.volumes.statsVolume({ name });
  expect(filesystems[0]?.totalBytes).toBeGreaterThan(400n * mib);
  expect((await system.volumes.syncVolume({ name, reportOnly: true })).differences).toEqual([]);

  await system.volumes.unmountVolume({ name, host: take, targetPath });
  await system.volumes.unstageVolume({ name, host: take });
  await system.volumes.disconnectVolume({ name, host: take });
  await world.connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath });
  await system.volumes.mountVolume({ name, host: take, targetPath });
  expect(await output(machines.take, "sha256sum", `${targetPath}/data`)).toBe(written);
  await system.volumes.unmountVolume({ name, host: take, targetPath });
  await system.volumes.unstageVolume({ name, host: take });
  await world.takeDown(name);
}

it("a volume lives on machines that only agents reach", async () => {
  const { hosts } = await world.system.hosts.listHosts({});
  expect(hosts.map(({ connection, state }) => [connection.case, state])).toEqual([["agent", HostState.ONLINE], ["agent", HostState.ONLINE]]);
  await life("life");
});
