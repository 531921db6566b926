import { Code, ConnectError } from "@connectrpc/connect";
import type { csi, Volume } from "@zfsilo/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { blockCapability, mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

const [node, other] = ["hst_take", "hst_tap"];
const stagingTargetPath = "/mnt/globalmount";
const targetPath = "/mnt/pod";
const { signal } = new AbortController();

let system: System;
let driver: RunningDriver;
beforeAll(async () => {
  const hosts = [
    { id: "hst_give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
    { id: node, roles: ["initiator"], simulated: {} },
    { id: other, roles: ["initiator"], simulated: {} },
  ];
  system = await startSystem({ hosts });
  driver = await driverOf(system);
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});

async function make(name: string, capability: csi.VolumeCapability): Promise<string> {
  const capacityRange = { requiredBytes: 64n << 20n };
  const { volume } = await driver.controller.createVolume({ name, capacityRange, volumeCapabilities: [capability], parameters: { host: "hst_give" } });
  return volume!.volumeId;
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "Ok",
    (error: unknown) => Code[ConnectError.from(error).code],
  );

const publish = (volumeId: string, nodeId: string, volumeCapability: csi.VolumeCapability, readonly = false): Promise<string> =>
  codeOf(driver.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability, readonly }));
const stage = (volumeId: string, volumeCapability: csi.VolumeCapability): Promise<string> =>
  codeOf(driver.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability }));
const mount = (volumeId: string, volumeCapability: csi.VolumeCapability, readonly = false): Promise<string> =>
  codeOf(driver.node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath, volumeCapability, readonly }));
const look = async (volumeId: string): Promise<Volume> => (await system.volumes.getVolume({ name: `volumes/${volumeId}` })).volume!;

async function takeAway(volumeId: string): Promise<void> {
  await driver.node.nodeUnpublishVolume({ volumeId, targetPath });
  await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
  await driver.controller.controllerUnpublishVolume({ volumeId });
}

/** Writes on the node, past mount options and modes of the files: what a root there could do. */
async function errnoOf(path: string): Promise<string | undefined> {
  const create = path.startsWith("/dev/") ? {} : { create: { mode: 0o600 } };
  const operation = { op: "write", path, content: "x", ...create, tolerate: ["EROFS", "EIO"] } as const;
  return (await system.controlPlane.world.executor(node).files([operation], { signal }))[0]?.errno;
}

describe("raw block that is published read-only", () => {
  it.each([
    ["by its access mode", blockCapability("SINGLE_NODE_READER_ONLY"), false],
    ["by PUBLISH_READONLY", blockCapability(), true],
  ])("%s cannot be written by its node", async (_how, capability, readonly) => {
    const volumeId = await make(`reader-${readonly}`, capability);
    expect(await publish(volumeId, node, capability, readonly)).toBe("Ok");
    expect(await publish(volumeId, node, capability, readonly)).toBe("Ok");
    expect(await publish(volumeId, node, blockCapability())).toBe("AlreadyExists");
    expect(await stage(volumeId, capability)).toBe("Ok");
    expect(await mount(volumeId, capability, true)).toBe("Ok");
    expect(await mount(volumeId, capability, true)).toBe("Ok");
    const [attachment] = (await look(volumeId)).attachments;
    expect(attachment).toMatchObject({ writeProtected: true, readOnly: true, readOnlyTargetPaths: [targetPath] });
    expect(await errnoOf(attachment!.device)).toBe("EROFS");
    await takeAway(volumeId);
    await driver.controller.deleteVolume({ volumeId });
  });

  it("is shared by readers, and by them alone", async () => {
    const readers = blockCapability("MULTI_NODE_READER_ONLY");
    const volumeId = await make("readers", readers);
    expect(await publish(volumeId, node, readers)).toBe("Ok");
    expect(await publish(volumeId, other, readers)).toBe("Ok");
    expect((await look(volumeId)).attachments.map(({ writeProtected }) => writeProtected)).toEqual([true, true]);
    await driver.controller.controllerUnpublishVolume({ volumeId });
    expect(await publish(volumeId, node, blockCapability("MULTI_NODE_MULTI_WRITER"))).toBe("Ok");
    expect(await publish(volumeId, other, readers)).toBe("FailedPrecondition");
    expect(await publish(volumeId, other, blockCapability("MULTI_NODE_MULTI_WRITER"), true)).toBe("Ok");
    await driver.controller.controllerUnpublishVolume({ volumeId });
    await driver.controller.deleteVolume({ volumeId });
  });

  it("is refused at a target path alone: a bound device node can be written", async () => {
    const volumeId = await make("path", blockCapability());
    await publish(volumeId, node, blockCapability());
    expect(await stage(volumeId, blockCapability())).toBe("Ok");
    expect(await mount(volumeId, blockCapability(), true)).toBe("InvalidArgument");
    expect(await mount(volumeId, blockCapability())).toBe("Ok");
    await takeAway(volumeId);
    await driver.controller.deleteVolume({ volumeId });
  });
});

describe("a filesystem that is published read-only", () => {
  it("has to have been made, and is then mounted as it is", async () => {
    const volumeId = await make("filesystem", mountCapability());
    expect(await publish(volumeId, node, mountCapability(), true)).toBe("Ok");
    expect(await stage(volumeId, mountCapability())).toBe("FailedPrecondition");
    await driver.controller.controllerUnpublishVolume({ volumeId });

    await publish(volumeId, node, mountCapability());
    expect(await stage(volumeId, mountCapability())).toBe("Ok");
    await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
    await driver.controller.controllerUnpublishVolume({ volumeId });

    expect(await publish(volumeId, node, mountCapability(), true)).toBe("Ok");
    expect(await stage(volumeId, mountCapability())).toBe("Ok");
    expect(await stage(volumeId, mountCapability())).toBe("Ok");
    expect(await mount(volumeId, mountCapability())).toBe("Ok");
    const [attachment] = (await look(volumeId)).attachments;
    expect(attachment).toMatchObject({ writeProtected: true, readOnly: true });
    expect(await errnoOf(`${targetPath}/file`)).toBe("EROFS");
    expect(await errnoOf(attachment!.device)).toBe("EROFS");
    await takeAway(volumeId);
    await driver.controller.deleteVolume({ volumeId });
  });

  it("is not mounted without its journal, unless its mount options say so", async () => {
    const volumeId = await make("unclean", mountCapability());
    await publish(volumeId, node, mountCapability());
    expect(await stage(volumeId, mountCapability())).toBe("Ok");
    // The node is shut out with the filesystem mounted.
    await driver.controller.controllerUnpublishVolume({ volumeId, nodeId: node });
    expect(await publish(volumeId, node, mountCapability(), true)).toBe("Ok");
    expect(await stage(volumeId, mountCapability())).toBe("FailedPrecondition");
    const asItIs = mountCapability("ext4", "SINGLE_NODE_WRITER", ["noload"]);
    expect(await stage(volumeId, asItIs)).toBe("Ok");
    await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
    await driver.controller.controllerUnpublishVolume({ volumeId });
    await publish(volumeId, node, mountCapability());
    expect(await stage(volumeId, asItIs)).toBe("FailedPrecondition");
    expect(await stage(volumeId, mountCapability())).toBe("Ok");
    await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
    await driver.controller.controllerUnpublishVolume({ volumeId });
    await driver.controller.deleteVolume({ volumeId });
  });
});

it("keeps a reader one through the loss of both machines, and protects again what was opened by hand", async () => {
  const readers = blockCapability("SINGLE_NODE_READER_ONLY");
  const volumeId = await make("restored", readers);
  await publish(volumeId, node, readers);
  await stage(volumeId, readers);
  const { world } = system.controlPlane;
  world.powerCycle("hst_give");
  world.powerCycle(node);
  expect((await system.volumes.syncVolume({ name: `volumes/${volumeId}` })).left).toBe(0n);
  const device = async (): Promise<string> => (await look(volumeId)).attachments[0]!.device;
  expect(await errnoOf(await device())).toBe("EROFS");

  const [acls] = await world.executor("hst_give").files([{ op: "read-glob", path: "/sys/kernel/config/target/iscsi/*/tpgt_1/acls/*/lun_0/write_protect" }], { signal });
  const path = acls!.files![0]![0];
  await world.executor("hst_give").files([{ op: "write", path, content: "0" }], { signal });
  const { differences } = await system.volumes.syncVolume({ name: `volumes/${volumeId}` });
  expect(differences).toMatchObject([{ reason: "WRITE_PROTECTION_WRONG", action: "restore-export", outcome: 2 }]);
  expect((await world.executor("hst_give").files([{ op: "read", path }], { signal }))[0]?.text).toBe("1\n");
  await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
  await driver.controller.controllerUnpublishVolume({ volumeId });
  await driver.controller.deleteVolume({ volumeId });
});
