import { Code, ConnectError } from "@connectrpc/connect";
import { HostState, VolumeMode } from "@zfsilo/api";
import { describe, expect, it } from "vitest";
import { awaitState, startAgentOn } from "../../src/agent/agents.ts";
import { inContainer, makeContainer, removeContainer } from "../../src/agent/container.ts";
import { insist } from "../../src/api/insist.ts";
import { output } from "../../src/api/real-hosts.ts";
import { mib, take, useRealWorld } from "../../src/api/real-world.ts";
import { until } from "../../src/api/until.ts";

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

it("an agent that is killed while it publishes leaves nothing half done", async () => {
  const { machines, system, agents } = world;
  const name = await world.create("killed", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  const { volume } = await system.volumes.getVolume({ name });
  const pid = await agents.give.pid();
  // Within the batch of file operations: its target is there, and not yet all that belongs to it.
  const target = `/sys/kernel/config/target/iscsi/*:${volume!.handle}`;
  const killer = output(machines.give, "sh", "-ec", `until ls -d ${target} >/dev/null 2>&1; do :; done; kill -9 ${pid}`);
  const first = await system.volumes.publishVolume({ name }).catch((error: unknown) => ConnectError.from(error));
  await killer;
  if (first instanceof ConnectError) expect([Code.Unavailable, Code.Aborted]).toContain(first.code);
  await insist(() => system.volumes.publishVolume({ name }));
  expect(await agents.give.pid()).not.toBe(pid);
  expect((await system.volumes.syncVolume({ name, reportOnly: true })).differences).toEqual([]);
  await insist(() => system.volumes.connectVolume({ name, host: take }));
  await world.takeDown(name);
});

/** Has iscsiadm do its work on take, and then stand still: what it did, nobody hears. */
const program = "/usr/sbin/iscsiadm";
const stopped = "/var/tmp/iscsiadm-stopped";
const stopsAfterItsWork = [
  `cp ${program} /var/tmp/iscsiadm-real`,
  `printf '#!/bin/sh\n/var/tmp/iscsiadm-real "$@"\necho $$ > ${stopped}\nkill -STOP $$\n' > /var/tmp/iscsiadm-stops`,
  "chmod 755 /var/tmp/iscsiadm-stops",
  `mount --bind /var/tmp/iscsiadm-stops ${program}`,
];

it("a stream that is cut in the middle of a login leaves what happened unknown, and the retry finds out", async () => {
  const { machines, system, agents } = world;
  const name = await world.create("cut", VolumeMode.BLOCK, { capacityBytes: 64n * mib });
  await system.volumes.publishVolume({ name });
  await output(machines.take, "sh", "-ec", stopsAfterItsWork.join("\n"));
  const connecting = system.volumes.connectVolume({ name, host: take }).then(() => undefined, (error: unknown) => ConnectError.from(error));
  await until("the login has happened", async () => (await machines.take.exec(["test", "-s", stopped])).code === 0);
  const pid = await output(machines.take, "cat", stopped);
  // Lazily: the one that stands still is read from it.
  await output(machines.take, "umount", "-l", program);
  await agents.take.cut();
  expect(await connecting).toMatchObject({ code: Code.Unavailable });
  await awaitState(system, take, HostState.OFFLINE);
  await agents.take.rejoin();
  await insist(() => system.volumes.connectVolume({ name, host: take }));
  // The agent ended what ran for the stream that was lost, before it served again.
  expect((await machines.take.exec(["kill", "-0", pid])).code).not.toBe(0);
  expect((await system.volumes.syncVolume({ name, reportOnly: true })).differences).toEqual([]);
  const { operations } = await system.operations.listOperations({ filter: "state = STUCK OR state = RUNNING OR state = UNDOING" });
  expect(operations.map(({ kind }) => kind)).toEqual([]);
  await output(machines.take, "sh", "-c", "rm /var/tmp/iscsiadm-*");
  await world.takeDown(name);
});

describe.each(["nsenter", "chroot"] as const)("an agent in a container that uses %s", (place) => {
  it("acts in the host's namespaces, with the host's programs", async () => {
    const { machines, system, agents } = world;
    await agents.take.remove();
    await makeContainer(machines.take);
    const container = inContainer(place, system.controlPlane.address.port);
    const agent = await startAgentOn(machines.take, take, system, { ...container, environment: { ZFSILO_AGENT_PLACE: place } });
    const namespace = (pid: string, kind: string) => output(machines.take, "readlink", `/proc/${pid}/ns/${kind}`);
    const kinds = place === "nsenter" ? ["mnt", "net"] : ["mnt"];
    const pid = await agent.pid();
    for (const kind of kinds) expect(await namespace(pid, kind)).not.toBe(await namespace("1", kind));
    await life(place);
    await agent.remove();
    await removeContainer(machines.take);
    await agents.take.start();
    await awaitState(system, take, HostState.ONLINE);
  });
});
