import { VolumeMode, VolumeStatus } from "@zfsilo/api";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { insist } from "../../src/api/insist.ts";
import { startService, type ServiceProcess } from "../../src/api/process.ts";
import { output, realHosts } from "../../src/api/real-hosts.ts";
import { give, mib, take, useRealWorld } from "../../src/api/real-world.ts";
import { connectTo, type Clients } from "../../src/api/system.ts";

// SIGKILL of the control plane in the middle of each workflow on real hosts; a new one starts on what it left.
const world = useRealWorld("api-killed");
let service: ServiceProcess;
let api: Clients;
let env: Record<string, string>;
let directory: string;

async function start(data?: string): Promise<void> {
  service = await startService(env, data);
  api = connectTo(service.address, service.token);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-killed-"));
  const file = join(directory, "zfsilo.json");
  await writeFile(file, JSON.stringify({ hosts: realHosts(world.machines), reconcile: { intervalSeconds: 0 } }));
  env = { ZFSILO_CONFIG: file };
  await start();
});
afterAll(async () => {
  await service.remove();
  await rm(directory, { recursive: true });
});

/** Begins a call, kills the server once its operation runs, starts a new one, and repeats the call until it is answered. */
async function killedIn<T>(kind: string, afterMs: number, call: () => Promise<T>): Promise<T> {
  const first = { answered: false };
  const abandoned = call().then(
    () => {
      first.answered = true;
    },
    () => undefined,
  );
  let step = "";
  while (!first.answered && step === "") {
    const { operations } = await api.operations.listOperations({ filter: `kind = "${kind}" AND state = RUNNING` });
    step = operations[0]?.steps.find(({ startTime, endTime }) => startTime !== undefined && endTime === undefined)?.name ?? "";
  }
  expect(step, `${kind} was over before it was seen running`).not.toBe("");
  await sleep(afterMs);
  service.child.kill("SIGKILL");
  await abandoned;
  await start(service.directory);
  return insist(call, 60);
}

const name = "volumes/killed";
const volume = { host: give, capacityBytes: 128n * mib, mode: VolumeMode.FILESYSTEM };
const stagingPath = "/mnt/stage";
const targetPath = "/mnt/target";

it.each([0, 400])("every workflow, killed %i ms into a step", async (afterMs) => {
  const status = async () => (await api.volumes.getVolume({ name })).volume?.status;
  await killedIn("volume.create", afterMs, () => api.volumes.createVolume({ volumeId: "killed", volume }));
  expect(await status()).toBe(VolumeStatus.INITIAL);
  await killedIn("volume.publish", afterMs, () => api.volumes.publishVolume({ name }));
  expect(await status()).toBe(VolumeStatus.PUBLISHED);
  await killedIn("volume.connect", afterMs, () => api.volumes.connectVolume({ name, host: take }));
  expect(await status()).toBe(VolumeStatus.CONNECTED);
  await killedIn("volume.stage", afterMs, () => api.volumes.stageVolume({ name, host: take, stagingPath }));
  expect(await status()).toBe(VolumeStatus.STAGED);
  await killedIn("volume.mount", afterMs, () => api.volumes.mountVolume({ name, host: take, targetPath }));
  expect(await status()).toBe(VolumeStatus.MOUNTED);
  const grown = { volume: { name, capacityBytes: 192n * mib }, updateMask: { paths: ["capacity_bytes"] } };
  await killedIn("volume.expand", afterMs, () => api.volumes.updateVolume(grown));
  expect((await api.volumes.statsVolume({ name })).zvol?.capacityBytes).toBe(192n * mib);
  expect((await api.volumes.syncVolume({ name, reportOnly: true })).differences).toEqual([]);

  await killedIn("volume.unmount", afterMs, () => api.volumes.unmountVolume({ name, host: take, targetPath }));
  await killedIn("volume.unstage", afterMs, () => api.volumes.unstageVolume({ name, host: take }));
  await killedIn("volume.disconnect", afterMs, () => api.volumes.disconnectVolume({ name, host: take }));
  await killedIn("volume.unpublish", afterMs, () => api.volumes.unpublishVolume({ name }));
  await killedIn("volume.delete", afterMs, () => api.volumes.deleteVolume({ name, allowMissing: true }));
  expect((await api.volumes.listVolumes({})).volumes).toEqual([]);
  const { operations } = await api.operations.listOperations({ filter: "state = STUCK OR state = RUNNING OR state = UNDOING" });
  expect(operations.map(({ kind }) => kind)).toEqual([]);
});

/** Leaves the disk as the kill before the last write of mkfs does: ext4 without its superblock, xfs with one that says "not yet". */
const leaveUnfinished = {
  ext4: 'dd if=/dev/zero of="$device" bs=1024 seek=1 count=1 conv=notrunc,fsync',
  xfs: 'xfs_db -x -c "sb 0" -c "write inprogress 1" "$device"',
};

it.each(["ext4", "xfs"] as const)("a volume whose mkfs.%s was killed gets its filesystem by the next call", async (type) => {
  const { take: machine } = world.machines;
  // Found before the real one.
  const killed = `/usr/local/sbin/mkfs.${type}`;
  const script = `/usr/sbin/mkfs.${type} "$@" || exit\nfor device; do :; done\n${leaveUnfinished[type]}\nkill -9 $$\n`;
  await output(machine, "sh", "-c", 'printf "#!/bin/sh\n%b" "$1" >"$2" && chmod +x "$2"', "sh", script, killed);
  await api.volumes.createVolume({ volumeId: "killed", volume: { ...volume, capacityBytes: 320n * mib, filesystem: { type } } });
  await api.volumes.publishVolume({ name });
  await api.volumes.connectVolume({ name, host: take });
  const stage = () => api.volumes.stageVolume({ name, host: take, stagingPath });
  try {
    await expect(stage()).rejects.toThrow(`make ${type}`);
    await expect(stage()).rejects.toThrow(`make ${type}`);
  } finally {
    await output(machine, "rm", killed);
  }
  await stage();
  await output(machine, "sh", "-c", `echo kept >${stagingPath}/file`);
  await api.volumes.unstageVolume({ name, host: take });
  await stage();
  expect(await output(machine, "cat", `${stagingPath}/file`)).toBe("kept");

  await api.volumes.unstageVolume({ name, host: take });
  await api.volumes.disconnectVolume({ name, host: take });
  await api.volumes.unpublishVolume({ name });
  await api.volumes.deleteVolume({ name });
});
