import { Acceptance, VolumeMode } from "@zfsilo/api";
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, take, useRealWorld } from "../../src/api/real-world.ts";

// What hosts and networks do to volumes, with the reconciler running by itself as it does in service.
const world = useRealWorld("api-failures", { reconcileSeconds: 5 });
const { create, connect, takeDown } = world;

async function until(what: string, look: () => Promise<boolean>, limitMs = 300_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`);
    await sleep(1_000);
  }
}

const isWhole = async (name: string) => (await world.system.volumes.syncVolume({ name, reportOnly: true })).differences.length === 0;

/** Writes files one after the other until it is told to stop, each synced; a file that is listed was written whole. */
const writer = `
  cd /mnt/stage || exit 1
  i=0
  while [ ! -e /tmp/stop-writing ]; do
    i=$((i + 1))
    head -c 1048576 /dev/urandom > part || exit 2
    sync part || exit 3
    sha256sum < part > sum.$i || exit 4
    mv part data.$((i % 16)) && sync . || exit 5
    sha256sum < data.$((i % 16)) | cmp -s - sum.$i || exit 6
    rm -f sum.$i
  done
  echo $i
`;

async function underWriter(name: string, disturb: () => Promise<void>): Promise<number> {
  const { machines, system } = world;
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await machines.take.exec(["rm", "-f", "/tmp/stop-writing"]);
  const writing = machines.take.exec(["sh", "-c", writer], { timeoutMs: 600_000 });
  await sleep(3_000);
  await disturb();
  await until("the volume is whole again", () => isWhole(name));
  await sleep(5_000);
  await output(machines.take, "touch", "/tmp/stop-writing");
  const { code, stdout, stderr } = await writing;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return Number(stdout);
}

it("a power cut of the target host under a writer: the export comes back by itself and the writer goes on", async () => {
  const { machines, system } = world;
  const name = await create("power", VolumeMode.FILESYSTEM);
  await connect(name);
  const written = await underWriter(name, async () => {
    await machines.give.reset();
    await until("the target is exported again", async () => (await isWhole(name)));
  });
  expect(written).toBeGreaterThan(1);
  expect((await system.volumes.getVolume({ name })).volume?.condition).toBeUndefined();
  await system.volumes.unstageVolume({ name, host: take });
  await takeDown(name);
});

it("20 s without a network under a writer are survived", async () => {
  const { machines, system } = world;
  const name = await create("cut", VolumeMode.FILESYSTEM);
  await connect(name);
  await underWriter(name, async () => {
    await machines.take.setLink(false);
    await sleep(20_000);
    await machines.take.setLink(true);
  });
  await system.volumes.unstageVolume({ name, host: take });
  await takeDown(name);
});

it("a dead initiator is fenced off, another has the volume, and what it does when it comes back is refused and cleaned up", async () => {
  const { machines, system } = world;
  const name = await create("dead", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  await connect(name);
  await machines.take.reset({ wait: false });
  await system.volumes.disconnectVolume({ name, host: take, force: true });
  await system.volumes.connectVolume({ name, host: give });
  const { volume } = await system.volumes.getVolume({ name });
  expect(volume!.attachments).toMatchObject([{ host: give, generation: 3n }]);
  const target = volume!.export!.targetName;

  await machines.take.waitReady();
  const late = await machines.take.exec(["iscsiadm", "-m", "node", "-T", target, "--login"]);
  expect([21, 24]).toContain(late.code);
  await until("its record is gone", async () => {
    const { stdout } = await machines.take.exec(["find", "/etc/iscsi/nodes", "-name", `${target}*`]);
    return stdout.trim() === "";
  });
  await takeDown(name, [give]);
});

it("a mounted volume follows its host to another address, the old one being taken away under it", async () => {
  const { machines, system } = world;
  const [old, present] = [{ address: "10.9.0.2", port: 3260 }, { address: "10.9.0.22", port: 3260 }];
  const listenAt = (...portals: (typeof old)[]) => system.hosts.updateHost({ host: { name: give, portals }, updateMask: { paths: ["portals"] } });
  const conditionOf = async (name: string) => (await system.volumes.getVolume({ name })).volume?.condition?.reason;
  const device = (await output(machines.give, "ip", "-o", "-4", "addr", "show", "to", old.address)).split(/\s+/)[1]!;
  const address = (does: "add" | "del", { address: ip }: typeof old) => output(machines.give, "ip", "addr", does, `${ip}/24`, "dev", device);

  const name = await create("moved", VolumeMode.FILESYSTEM);
  await connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await output(machines.take, "sh", "-ec", "echo kept > /mnt/stage/file && sync /mnt/stage/file");
  // As promoted, so that it outlives the address that was first on the interface.
  await output(machines.give, "sysctl", "-qw", `net.ipv4.conf.${device}.promote_secondaries=1`);
  await address("add", present);
  await listenAt(present, old);
  await until("it is exported at both", async () => (await conditionOf(name)) === undefined && (await isWhole(name)));
  await listenAt(present);
  await until("it says that its session is at the old one", async () => (await conditionOf(name)) === "PORTAL_OUTDATED");
  expect(await output(machines.take, "cat", "/mnt/stage/file")).toContain("kept");

  await address("del", old);
  await until("it is whole at the new one", () => isWhole(name));
  expect(await output(machines.take, "cat", "/mnt/stage/file")).toContain("kept");
  const sessions = await output(machines.take, "iscsiadm", "-m", "session");
  expect(sessions).toContain(present.address);
  expect(sessions).not.toContain(`${old.address}:`);

  await address("add", old);
  await listenAt(old);
  await system.volumes.unstageVolume({ name, host: take });
  await takeDown(name);
  await address("del", present);
});

it("an older database is put back under a live writer: it is not disturbed, and the record counts when a person says so", async () => {
  const { machines, system } = world;
  const name = await create("older", VolumeMode.FILESYSTEM);
  await system.volumes.publishVolume({ name });
  await system.restart((dataDir) => copyFile(join(dataDir, "zfsilo.db"), join(dataDir, "copy.db")));
  await system.volumes.connectVolume({ name, host: take });
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await machines.take.exec(["rm", "-f", "/tmp/stop-writing"]);
  const writing = machines.take.exec(["sh", "-c", writer], { timeoutMs: 600_000 });
  await sleep(2_000);
  await system.restart(async (dataDir) => {
    await copyFile(join(dataDir, "copy.db"), join(dataDir, "zfsilo.db"));
    for (const end of ["-wal", "-shm"]) await rm(join(dataDir, `zfsilo.db${end}`), { force: true });
  });
  await until("it is known to be older", async () => (await system.volumes.getVolume({ name })).volume?.condition?.reason === "RECORD_OUTDATED");
  await expect(system.volumes.connectVolume({ name, host: give })).rejects.toThrow("the database is older");
  await sleep(12_000);
  await output(machines.take, "touch", "/tmp/stop-writing");
  const { code, stdout, stderr } = await writing;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(Number(stdout)).toBeGreaterThan(1);

  await output(machines.take, "umount", "/mnt/stage");
  await system.volumes.syncVolume({ name, accept: Acceptance.RECORD });
  await system.volumes.syncVolumes({});
  expect((await system.volumes.getVolume({ name })).volume?.condition).toBeUndefined();
  await output(machines.take, "rmdir", "/mnt/stage");
  await system.volumes.unpublishVolume({ name });
  await system.volumes.deleteVolume({ name });
});

it("a volume that was restored by zfs receive is adopted with its data", async () => {
  const { machines, system } = world;
  const name = await create("received", VolumeMode.FILESYSTEM);
  const dataset = (await system.volumes.getVolume({ name })).volume!.dataset;
  const mount = async (): Promise<void> => {
    await connect(name);
    await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  };
  const release = async (): Promise<void> => {
    await system.volumes.unstageVolume({ name, host: take });
    await system.volumes.disconnectVolume({ name, host: take });
    await system.volumes.unpublishVolume({ name });
  };
  await mount();
  const sum = await output(machines.take, "sh", "-ec", "head -c 8388608 /dev/urandom > /mnt/stage/data; sync; sha256sum < /mnt/stage/data");
  await release();
  const script = [
    `zfs rename ${dataset} tank/zfsilo/aside`,
    "zfs snapshot tank/zfsilo/aside@copy",
    `zfs send -p tank/zfsilo/aside@copy | zfs receive -u ${dataset}`,
    "udevadm settle",
    "zfs destroy -r tank/zfsilo/aside",
    `zfs destroy ${dataset}@copy`,
    `zfs get -Hp -o value guid ${dataset}`,
  ];
  const guid = (await output(machines.give, "sh", "-ec", script.join("\n"))).trim();
  await expect(system.volumes.publishVolume({ name })).rejects.toThrow(/belongs to nobody|its guid is/);
  await system.volumes.adoptVolume({ volumeId: "received", host: give, dataset, guid });
  await mount();
  expect(await output(machines.take, "sh", "-c", "sha256sum < /mnt/stage/data")).toBe(sum);
  await release();
  await system.volumes.deleteVolume({ name });
});
