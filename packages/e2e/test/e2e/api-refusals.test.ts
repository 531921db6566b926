import { Code } from "@connectrpc/connect";
import { VolumeMode } from "@zfsilo/api";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, take, useRealWorld } from "../../src/api/real-world.ts";

// (g): what a kernel must show of the refusals (docs/reliability.md). After each one: nothing changed, no trace left.
const world = useRealWorld("api-refusals");
const { create, connect, takeDown } = world;
const refused = { code: Code.FailedPrecondition };

async function datasetOf(name: string): Promise<string> {
  return (await world.system.volumes.getVolume({ name })).volume!.dataset;
}

it("each rung is held by the one above it", async () => {
  const { system } = world;
  const name = await create("ladder", VolumeMode.FILESYSTEM);
  await connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await system.volumes.mountVolume({ name, host: take, targetPath: "/mnt/target" });
  await expect(system.volumes.unstageVolume({ name, host: take })).rejects.toMatchObject(refused);
  await expect(system.volumes.disconnectVolume({ name, host: take })).rejects.toMatchObject(refused);
  await expect(system.volumes.unpublishVolume({ name })).rejects.toMatchObject(refused);
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject(refused);
  const shrink = system.volumes.updateVolume({ volume: { name, capacityBytes: 128n * mib }, updateMask: { paths: ["capacity_bytes"] } });
  await expect(shrink).rejects.toMatchObject({ code: Code.InvalidArgument });
  expect((await system.volumes.syncVolume({ name })).differences).toEqual([]);
  await system.volumes.unmountVolume({ name, host: take, targetPath: "/mnt/target" });
  await system.volumes.unstageVolume({ name, host: take });
  await takeDown(name);
});

it("a zvol that is not ours, by property or by guid, is neither exported nor destroyed", async () => {
  const { machines, system } = world;
  const name = await create("foreign", VolumeMode.BLOCK);
  const dataset = await datasetOf(name);
  await output(machines.give, "zfs", "set", "zfsilo:volume=another", dataset);
  await expect(system.volumes.publishVolume({ name })).rejects.toMatchObject(refused);
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject(refused);
  await output(machines.give, "zfs", "destroy", dataset);
  const cluster = (await system.service.getServerInfo({})).clusterId;
  await output(machines.give, "zfs", "create", "-V", "256M", "-o", "zfsilo:volume=foreign", "-o", `zfsilo:cluster=${cluster}`, dataset);
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject(refused);
  expect((await system.volumes.syncVolume({ name })).differences).toMatchObject([{ reason: "FOREIGN_ZVOL" }]);

  await output(machines.give, "sh", "-c", `udevadm settle; zfs destroy ${dataset}`);
  expect((await system.volumes.syncVolume({ name })).differences).toMatchObject([{ reason: "ZVOL_MISSING" }]);
  await expect(system.volumes.publishVolume({ name })).rejects.toMatchObject({ code: Code.NotFound });
  await system.volumes.deleteVolume({ name });
});

it("another target that has the port is named, and publishing works as soon as it is gone", async () => {
  const { machines, system } = world;
  const name = await create("port", VolumeMode.BLOCK);
  const foreign = "/sys/kernel/config/target/iscsi/iqn.2003-01.org.example:port";
  const portal = `${foreign}/tpgt_1/np/0.0.0.0:3260`;
  await output(machines.give, "sh", "-c", `modprobe iscsi_target_mod && mkdir -p ${portal}`);
  const named = expect.stringContaining("target iqn.2003-01.org.example:port serves 0.0.0.0:3260") as string;
  await expect(system.volumes.publishVolume({ name })).rejects.toMatchObject({ ...refused, message: named });
  expect((await system.hosts.checkHost({ name: give })).checks).toContainEqual(expect.objectContaining({ name: "portal.10.9.0.2:3260", observed: named }));
  await output(machines.give, "rmdir", portal, `${foreign}/tpgt_1`, foreign);
  await system.volumes.publishVolume({ name });
  await takeDown(name, []);
});

it("nothing counts as deleted while its pool is not imported", async () => {
  const { machines, system } = world;
  const name = await create("away", VolumeMode.BLOCK);
  await output(machines.give, "zpool", "export", "tank");
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject({ code: Code.Unavailable });
  expect((await system.volumes.syncVolume({ name })).differences).toMatchObject([{ reason: "POOL_NOT_IMPORTED" }]);
  await output(machines.give, "zpool", "import", "tank");
  await system.volumes.deleteVolume({ name });
});

it("a volume with a snapshot is not deleted, and the snapshot stays", async () => {
  const { machines, system } = world;
  const name = await create("kept", VolumeMode.BLOCK);
  const snapshot = `${await datasetOf(name)}@by-hand`;
  await output(machines.give, "zfs", "snapshot", snapshot);
  await expect(system.volumes.deleteVolume({ name })).rejects.toMatchObject(refused);
  expect(await output(machines.give, "zfs", "list", "-H", "-o", "name", snapshot)).toBe(snapshot);
  await output(machines.give, "zfs", "destroy", snapshot);
  await system.volumes.deleteVolume({ name });
});

it("a device that holds anything is never formatted", async () => {
  const { machines, system } = world;
  const name = await create("precious", VolumeMode.FILESYSTEM);
  const device = await connect(name);
  const head = () => output(machines.take, "sh", "-c", `head -c 8388608 ${device} | sha256sum`);
  const stage = () => system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await output(machines.take, "dd", "if=/dev/urandom", `of=${device}`, "bs=64k", "seek=8", "count=1", "conv=fsync", "status=none");
  const random = await head();
  await expect(stage()).rejects.toMatchObject(refused);
  expect(await head()).toBe(random);

  await output(machines.take, "sh", "-c", `mkfs.ext4 -q -F ${device} </dev/null`);
  const foreign = await head();
  await expect(stage()).rejects.toMatchObject(refused);
  expect(await head()).toBe(foreign);
  expect((await system.volumes.getVolume({ name })).volume!.filesystem!.uuid).toBe("");
  await takeDown(name);
});

it("paths outside the allowed roots, taken, or without a parent are refused", async () => {
  const { machines, system } = world;
  const name = await create("paths", VolumeMode.FILESYSTEM);
  await connect(name);
  const stage = (stagingPath: string) => system.volumes.stageVolume({ name, host: take, stagingPath });
  await expect(stage("/etc/stage")).rejects.toMatchObject({ code: Code.InvalidArgument });
  await expect(stage("/mnt/../etc/stage")).rejects.toMatchObject({ code: Code.InvalidArgument });
  await expect(stage("/mnt/no/such/parent")).rejects.toMatchObject({ code: Code.InvalidArgument });
  await output(machines.take, "ln", "-s", "/etc", "/mnt/link");
  await expect(stage("/mnt/link/stage")).rejects.toMatchObject({ code: Code.InvalidArgument });
  await output(machines.take, "rm", "/mnt/link");
  await output(machines.take, "sh", "-c", "mkdir /mnt/taken && mount -t tmpfs none /mnt/taken");
  await expect(stage("/mnt/taken")).rejects.toMatchObject(refused);
  await output(machines.take, "sh", "-c", "umount /mnt/taken && rmdir /mnt/taken");
  await takeDown(name);
});

it("what somebody uses is not taken away: a busy mount, and a device mounted by hand", async () => {
  const { machines, system } = world;
  const name = await create("busy", VolumeMode.FILESYSTEM);
  const device = await connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await output(machines.take, "sh", "-c", "cd /mnt/stage && (sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/holder)");
  await expect(system.volumes.unstageVolume({ name, host: take })).rejects.toMatchObject(refused);
  await output(machines.take, "sh", "-c", "kill $(cat /tmp/holder); sleep 1");
  await system.volumes.unstageVolume({ name, host: take });

  await output(machines.take, "sh", "-c", `mkdir /srv/by-hand && mount ${device} /srv/by-hand`);
  await expect(system.volumes.disconnectVolume({ name, host: take })).rejects.toMatchObject(refused);
  await output(machines.take, "sh", "-c", "umount /srv/by-hand && rmdir /srv/by-hand");
  await takeDown(name);
});

it("force ends access at the target alone: the writer is cut off, and another host can have the volume", async () => {
  const { machines, system } = world;
  const name = await create("fenced", VolumeMode.BLOCK);
  const device = await connect(name);
  await system.volumes.disconnectVolume({ name, host: take, force: true });
  await system.volumes.connectVolume({ name, host: give });
  const { volume } = await system.volumes.getVolume({ name });
  const there = volume!.attachments[0]!.device;
  expect(volume!.attachments).toMatchObject([{ host: give, generation: 3n }]);

  // The writer hangs on its lost session; logging out ends its write, with an error.
  const late = machines.take.exec(["sh", "-c", `printf late | dd of=${device} bs=512 count=1 conv=sync oflag=direct status=none`]);
  await sleep(3_000);
  expect(await output(machines.give, "sh", "-c", `dd if=${there} bs=512 count=1 iflag=direct status=none | tr -d '\\0' | wc -c`)).toBe("0");
  const target = volume!.export!.targetName;
  await output(machines.take, "iscsiadm", "-m", "node", "-T", target, "--logout");
  expect((await late).code).not.toBe(0);
  expect(await output(machines.give, "sh", "-c", `dd if=${there} bs=512 count=1 iflag=direct status=none | tr -d '\\0' | wc -c`)).toBe("0");
  expect((await machines.take.exec(["iscsiadm", "-m", "node", "-T", target, "--login"])).code).toBe(24);
  await output(machines.take, "iscsiadm", "-m", "node", "-T", target, "-o", "delete");
  await takeDown(name, [give]);
});
