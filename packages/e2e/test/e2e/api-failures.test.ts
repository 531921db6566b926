import { VolumeMode } from "@zfsilo/api";
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
  expect(volume!.attachments).toMatchObject([{ host: give, generation: 2n }]);
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
