import { afterEach, beforeEach, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

const [node, other] = ["hst_take", "hst_tap"] as const;
const stagingTargetPath = "/mnt/globalmount";
const volumeCapability = mountCapability();

let system: System;
let driver: RunningDriver;
beforeEach(async () => {
  const hosts = [
    { id: "hst_give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
    { id: node, roles: ["initiator"], simulated: {} },
    { id: other, roles: ["initiator"], simulated: {} },
  ];
  system = await startSystem({ hosts, reconcileSeconds: 1 });
  driver = await driverOf(system);
});
afterEach(async () => {
  await driver.stop();
  await system.stop();
});

/** The node hangs in that program and is gone: Kubernetes detaches the volume, and attaches it elsewhere. */
it.each([
  ["ControllerPublish", "iscsiadm", "--login"],
  ["NodeStage", "mount", "/dev/sd"],
])("a node that dies in %s loses the volume to another within seconds", async (call, program, argument) => {
  const { controller } = driver;
  const { volume } = await controller.createVolume({ name: "pvc", capacityRange: { requiredBytes: 64n << 20n }, volumeCapabilities: [volumeCapability], parameters: { host: "hst_give" } });
  const volumeId = volume!.volumeId;
  const { world } = system.controlPlane;
  const publish = (nodeId: string) => controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability });
  if (call === "NodeStage") await publish(node);
  world.faults.add({ host: node, match: { program, argvIncludes: [argument] }, effect: { kind: "hang" } });
  const called = (call === "NodeStage" ? driver.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability }) : publish(node)).catch(() => undefined);
  const runs = () => world.calls(node).latest.some((one) => "argv" in one && one.argv[0] === program && one.argv.some((word) => word.includes(argument)));
  await expect.poll(runs, { timeout: 10_000 }).toBe(true);
  world.setOnline(node, false);

  const unpublish = (nodeId: string) => controller.controllerUnpublishVolume({ volumeId, nodeId });
  // The sidecar repeats what is refused.
  await expect.poll(() => unpublish(node).then(() => "done", String), { timeout: 25_000, interval: 1_000 }).toBe("done");
  await publish(other);
  await called;
  await unpublish(other);
  await controller.deleteVolume({ volumeId });
});
