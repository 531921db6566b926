import { Code, ConnectError } from "@connectrpc/connect";
import { HostState, type csi } from "@zfsilo/api";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { awaitState } from "../../src/agent/agents.ts";
import { output } from "../../src/api/real-hosts.ts";
import { mib, useRealWorld } from "../../src/api/real-world.ts";
import { until } from "../../src/api/until.ts";
import { blockCapability, mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

// What kubelet and the sidecars call, on real kernels, without ssh: take's driver runs on take and is its agent, give has an
// agent and a driver apart from it, and the controller's driver is a third one.
const world = useRealWorld("csi", { reach: "driver", reconcileSeconds: 5 });
let central: RunningDriver;
let onGive: RunningDriver;
const onTake = {
  get node() {
    return world.driver.node;
  },
};

beforeAll(async () => {
  central = await driverOf(world.system, { mode: "controller" });
  onGive = await driverOf(world.system, { mode: "node", nodeId: "hst_give" });
});
afterAll(async () => {
  await central.stop();
  await onGive.stop();
});

const stagingTargetPath = "/mnt/globalmount";
const targetPath = "/mnt/pod";
const parameters = { host: "hst_give" };

async function makeVolume(name: string, volumeCapability: csi.VolumeCapability, sizeMib = 320n): Promise<string> {
  const { volume } = await central.controller.createVolume({
    name,
    capacityRange: { requiredBytes: sizeMib * mib },
    volumeCapabilities: [volumeCapability],
    parameters,
  });
  expect(volume?.capacityBytes).toBe(sizeMib * mib);
  return volume?.volumeId ?? "";
}

/** From the attacher's call to the pod's path. */
async function bringToPod({ node }: Pick<RunningDriver, "node">, nodeId: string, volumeId: string, volumeCapability: csi.VolumeCapability): Promise<void> {
  await central.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability });
  await node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability });
  await node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath, volumeCapability });
}

async function takeFromPod({ node }: Pick<RunningDriver, "node">, nodeId: string, volumeId: string): Promise<void> {
  await asKubelet(() => node.nodeUnpublishVolume({ volumeId, targetPath }));
  await asKubelet(() => node.nodeUnstageVolume({ volumeId, stagingTargetPath }));
  await asKubelet(() => central.controller.controllerUnpublishVolume({ volumeId, nodeId }));
}

/** Kubelet repeats a call that another operation is in the way of, such as the reconciler's clean-up. */
async function asKubelet(call: () => Promise<unknown>): Promise<void> {
  await until("the call gets its turn", async () => {
    try {
      await call();
      return true;
    } catch (error) {
      if (ConnectError.from(error).code === Code.Aborted) return false;
      throw error;
    }
  });
}

describe.each(["ext4", "xfs"])("a pod with an %s volume", (fsType) => {
  it("has it, fills it, sees it grow, reads its use, and finds its bytes on another node", async () => {
    const { give, take } = world.machines;
    const capability = mountCapability(fsType, "SINGLE_NODE_WRITER", ["noatime"]);
    const volumeId = await makeVolume(`pvc-${fsType}`, capability);
    await bringToPod(onTake, "take", volumeId, capability);
    expect(await output(take, "findmnt", "-n", "-o", "FSTYPE,OPTIONS", targetPath)).toMatch(new RegExp(`^${fsType} .*noatime`));
    await output(take, "dd", "if=/dev/urandom", `of=${targetPath}/data`, "bs=1M", "count=32", "conv=fsync", "status=none");
    const written = await output(take, "sha256sum", `${targetPath}/data`);

    const grown = await central.controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 640n * mib } });
    expect(grown).toMatchObject({ capacityBytes: 640n * mib, nodeExpansionRequired: false });
    const { usage, volumeCondition } = await onTake.node.nodeGetVolumeStats({ volumeId, volumePath: targetPath });
    expect(usage[0]!.total).toBeGreaterThan(500n * mib);
    expect(usage[0]!.used).toBeGreaterThan(32n * mib);
    expect(usage[1]!.used).toBeGreaterThan(0n);
    expect(volumeCondition?.abnormal).toBe(false);

    await takeFromPod(onTake, "take", volumeId);
    await bringToPod(onGive, "hst_give", volumeId, capability);
    expect(await output(give, "sha256sum", `${targetPath}/data`)).toBe(written);
    await takeFromPod(onGive, "hst_give", volumeId);
    await central.controller.deleteVolume({ volumeId });
  });
});

it("a pod that may only read has it read-only", async () => {
  const { take } = world.machines;
  const capability = mountCapability("ext4");
  const volumeId = await makeVolume("pvc-ro", capability, 64n);
  await central.controller.controllerPublishVolume({ volumeId, nodeId: "take", volumeCapability: capability });
  await onTake.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: capability });
  await onTake.node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath, volumeCapability: capability, readonly: true });
  expect((await take.exec(["touch", `${targetPath}/x`])).stderr).toContain("Read-only file system");
  await output(take, "touch", `${stagingTargetPath}/x`);
  await takeFromPod(onTake, "take", volumeId);
  await asKubelet(() => central.controller.deleteVolume({ volumeId }));
});

it("what is published read-only cannot be written by the node's root either", async () => {
  const { take } = world.machines;
  const readers = blockCapability("SINGLE_NODE_READER_ONLY");
  const raw = await makeVolume("pvc-reader-raw", readers, 64n);
  await bringToPod(onTake, "take", raw, readers);
  expect(await output(take, "blockdev", "--getro", targetPath)).toBe("1");
  expect((await take.exec(["dd", "if=/dev/zero", `of=${targetPath}`, "bs=512", "count=1", "conv=notrunc"])).stderr).toContain("Read-only file system");
  await takeFromPod(onTake, "take", raw);
  await asKubelet(() => central.controller.deleteVolume({ volumeId: raw }));

  const capability = mountCapability("ext4");
  const volumeId = await makeVolume("pvc-reader", capability, 64n);
  await bringToPod(onTake, "take", volumeId, capability);
  await output(take, "sh", "-c", `echo kept > ${targetPath}/file`);
  await takeFromPod(onTake, "take", volumeId);
  await central.controller.controllerPublishVolume({ volumeId, nodeId: "take", volumeCapability: capability, readonly: true });
  await onTake.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: capability });
  await onTake.node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath, volumeCapability: capability, readonly: true });
  expect(await output(take, "cat", `${targetPath}/file`)).toBe("kept");
  expect((await take.exec(["mount", "-o", "remount,rw", stagingTargetPath])).code).not.toBe(0);
  expect((await take.exec(["touch", `${stagingTargetPath}/x`])).stderr).toContain("Read-only file system");
  await takeFromPod(onTake, "take", volumeId);
  await asKubelet(() => central.controller.deleteVolume({ volumeId }));
});

it("a raw block volume is a file of the pod, grows, and is shared where its access mode says so", async () => {
  const { give, take } = world.machines;
  const capability = blockCapability("MULTI_NODE_MULTI_WRITER");
  const volumeId = await makeVolume("pvc-raw", capability, 64n);
  await bringToPod(onTake, "take", volumeId, capability);
  expect(await output(take, "stat", "-c", "%F", targetPath)).toBe("block special file");
  await central.controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 128n * mib } });
  expect(await output(take, "blockdev", "--getsize64", targetPath)).toBe(String(128n * mib));
  await bringToPod(onGive, "hst_give", volumeId, capability);
  await output(take, "sh", "-c", `printf shared-bytes | dd of=${targetPath} bs=512 count=1 conv=sync,fsync,notrunc oflag=direct status=none`);
  expect(await output(give, "sh", "-c", `dd if=${targetPath} bs=512 count=1 iflag=direct status=none | head -c 12`)).toBe("shared-bytes");
  const { status } = await central.controller.controllerGetVolume({ volumeId });
  expect([...(status?.publishedNodeIds ?? [])].sort()).toEqual(["hst_give", "take"]);
  await takeFromPod(onGive, "hst_give", volumeId);
  await takeFromPod(onTake, "take", volumeId);
  await asKubelet(() => central.controller.deleteVolume({ volumeId }));
});

it("a node that loses its power blocks nothing: another node has the volume at once, and the first is cleaned up when it is back", async () => {
  const { give, take } = world.machines;
  const capability = mountCapability("ext4");
  const volumeId = await makeVolume("pvc-power", capability, 64n);
  await bringToPod(onTake, "take", volumeId, capability);
  await output(take, "sh", "-c", `echo kept > ${targetPath}/file && sync ${targetPath}/file`);
  await take.reset({ wait: false });

  await central.controller.controllerUnpublishVolume({ volumeId, nodeId: "take" });
  await bringToPod(onGive, "hst_give", volumeId, capability);
  expect(await output(give, "cat", `${targetPath}/file`)).toBe("kept");
  await output(give, "sh", "-c", `echo mine > ${targetPath}/file && sync ${targetPath}/file`);

  await awaitState(world.system, "hosts/take", HostState.OFFLINE);
  await take.waitReady();
  await world.driver.program.rejoin();
  await awaitState(world.system, "hosts/take", HostState.ONLINE);
  const { volume } = await world.system.volumes.getVolume({ name: `volumes/${volumeId}` });
  const target = volume!.export!.targetName;
  const late = await take.exec(["iscsiadm", "-m", "node", "-T", target, "--login"]);
  expect([21, 24]).toContain(late.code);
  await asKubelet(() => onTake.node.nodeUnpublishVolume({ volumeId, targetPath }));
  await asKubelet(() => onTake.node.nodeUnstageVolume({ volumeId, stagingTargetPath }));
  await until("its record is gone", async () => (await output(take, "find", "/etc/iscsi/nodes", "-name", `${target}*`)) === "");
  await take.exec(["rmdir", targetPath, stagingTargetPath]);

  await takeFromPod(onGive, "hst_give", volumeId);
  await asKubelet(() => central.controller.deleteVolume({ volumeId }));
});

it("a node that is cut off and lives on cannot write any more after another has the volume", async () => {
  const { give, take } = world.machines;
  const capability = blockCapability();
  const volumeId = await makeVolume("pvc-cut", capability, 64n);
  await bringToPod(onTake, "take", volumeId, capability);
  const write = (what: string): string => `printf ${what} | dd of=${targetPath} bs=512 count=1 conv=sync,notrunc oflag=direct status=none`;
  await output(take, "sh", "-c", write("first"));
  await take.setLink(false);
  // Waits in the initiator for the network to come back.
  const late = take.exec(["sh", "-c", write("late")], { timeoutMs: 300_000 });
  await sleep(2_000);

  await central.controller.controllerUnpublishVolume({ volumeId, nodeId: "take" });
  await bringToPod(onGive, "hst_give", volumeId, capability);
  await output(give, "sh", "-c", write("second"));
  await take.setLink(true);
  expect((await late).code).not.toBe(0);
  // Fails as long as the disk is there; once the node is cleaned up it is a write to a file of its own.
  await take.exec(["sh", "-c", write("later")]);
  expect(await output(give, "sh", "-c", `dd if=${targetPath} bs=512 count=1 iflag=direct status=none | head -c 6`)).toBe("second");

  await until("it is cleaned up", async () => (await take.exec(["sh", "-c", `grep -q ' ${targetPath} ' /proc/self/mountinfo`])).code !== 0);
  await take.exec(["rm", "-f", targetPath]);
  await takeFromPod(onGive, "hst_give", volumeId);
  await asKubelet(() => central.controller.deleteVolume({ volumeId }));
});
