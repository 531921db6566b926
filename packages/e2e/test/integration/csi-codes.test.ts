import { Code, ConnectError } from "@connectrpc/connect";
import { VolumeStatus, type csi } from "@zfsilo/api";
import { createLogger } from "@zfsilo/lib";
import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { blockCapability, mountCapability } from "../../src/csi/capability.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";

const mib = 1n << 20n;
const node = "hst_take";
const stagingTargetPath = "/mnt/globalmount";
const targetPath = "/mnt/pod";
const parameters = { host: "hst_give" };
const mount = mountCapability();

let system: System;
let driver: RunningDriver;
let lines: string[];
beforeAll(async () => {
  const hosts = [
    { id: "hst_give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
    { id: "hst_take", roles: ["initiator"], simulated: {} },
    { id: "hst_tap", roles: ["initiator"], simulated: {} },
  ];
  system = await startSystem({ hosts });
  lines = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  driver = await driverOf(system, { log: createLogger("trace", destination) });
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});

async function make(name: string, volumeCapability = mount, more: object = {}): Promise<string> {
  const capacityRange = { requiredBytes: 64n * mib };
  const { volume } = await driver.controller.createVolume({ name, capacityRange, volumeCapabilities: [volumeCapability], parameters, ...more });
  return volume!.volumeId;
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "Ok",
    (error: unknown) => Code[ConnectError.from(error).code],
  );

describe("CreateVolume", () => {
  it.each([
    ["no name", { name: "" }, "InvalidArgument"],
    ["a name that is too long", { name: "x".repeat(129) }, "InvalidArgument"],
    ["no capability", { volumeCapabilities: [] }, "InvalidArgument"],
    ["a filesystem for many nodes", { volumeCapabilities: [mountCapability("", "MULTI_NODE_MULTI_WRITER")] }, "InvalidArgument"],
    ["a filesystem nobody knows", { volumeCapabilities: [mountCapability("btrfs")] }, "InvalidArgument"],
    ["a mount option nobody knows", { volumeCapabilities: [mountCapability("ext4", "SINGLE_NODE_WRITER", ["suid"])] }, "InvalidArgument"],
    ["an unknown parameter", { parameters: { ...parameters, colour: "red" } }, "InvalidArgument"],
    ["a value that ZFS does not know", { parameters: { ...parameters, "zfs.compression": "magic" } }, "InvalidArgument"],
    ["a host that is not there", { parameters: { host: "hst_none" } }, "InvalidArgument"],
    ["a host that is no target", { parameters: { host: "hst_take" } }, "InvalidArgument"],
    ["a pool that is not there", { parameters: { ...parameters, pool: "none" } }, "InvalidArgument"],
    ["an immutable parameter as mutable", { mutableParameters: { "zfs.volblocksize": "8192" } }, "InvalidArgument"],
    ["a limit below the size", { capacityRange: { requiredBytes: 2n * mib, limitBytes: mib } }, "OutOfRange"],
    ["a negative size", { capacityRange: { requiredBytes: -1n } }, "OutOfRange"],
    ["more than an int64 can round up", { capacityRange: { requiredBytes: 2n ** 63n - 1n } }, "OutOfRange"],
    ["secrets, which nobody would use", { secrets: { key: "k" } }, "InvalidArgument"],
    ["more than ext4 can have", { capacityRange: { requiredBytes: 1n << 62n } }, "OutOfRange"],
    ["more than the pool has", { capacityRange: { requiredBytes: 1n << 40n } }, "ResourceExhausted"],
    ["a topology", { accessibilityRequirements: { requisite: [{ segments: { zone: "a" } }] } }, "InvalidArgument"],
  ])("of %s", async (_what, change, code) => {
    expect(await codeOf(make("refused", mount, change))).toBe(code);
    expect((await system.volumes.listVolumes({})).volumes).toEqual([]);
  });

  it("names every unknown parameter", async () => {
    await expect(make("refused", mount, { parameters: { b: "1", a: "2" } })).rejects.toThrow(/unknown: b, a/);
  });

  it("refuses ten thousand of them in a message that gets through", async () => {
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`parameter-${index}-${"x".repeat(60)}`, "ü"]));
    const error = ConnectError.from(await make("refused", mount, { parameters: many }).catch((reason: unknown) => reason));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toMatch(/unknown: parameter-0-x+ … .* and 9995 more\. docs\/csi.md/);
    expect(Buffer.byteLength(error.rawMessage)).toBeLessThan(2048);
  });

  it("takes any name, and keeps it", async () => {
    const name = `ünïcode / "quoted" \\ ${"x".repeat(90)}`;
    const volumeId = await make(name);
    expect((await system.volumes.getVolume({ name: `volumes/${volumeId}` })).volume?.displayName).toBe(name);
    await driver.controller.deleteVolume({ volumeId });
  });

  it("finds the first volume again, as long as it is what is asked for", async () => {
    const volumeId = await make("again");
    expect(await make("again")).toBe(volumeId);
    // Still within the range, though not what was asked for the first time.
    expect(await make("again", mount, { capacityRange: { requiredBytes: 32n * mib } })).toBe(volumeId);
    expect(await codeOf(make("again", mount, { capacityRange: { requiredBytes: 128n * mib } }))).toBe("AlreadyExists");
    expect(await codeOf(make("again", mount, { capacityRange: { limitBytes: 32n * mib } }))).toBe("AlreadyExists");
    expect(await codeOf(make("again", blockCapability()))).toBe("AlreadyExists");
    expect(await codeOf(make("again", mount, { parameters: { ...parameters, sparse: "true" } }))).toBe("AlreadyExists");
    await driver.controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 96n * mib } });
    expect(await make("again")).toBe(volumeId);
    await driver.controller.deleteVolume({ volumeId });
  });

  it("honours mutable parameters, and changes them later", async () => {
    const volumeId = await make("mutable", mount, { mutableParameters: { "zfs.compression": "lz4" } });
    const options = async () => (await system.volumes.getVolume({ name: `volumes/${volumeId}` })).volume!.zfsOptions;
    expect(await options()).toEqual({ compression: "lz4" });
    await driver.controller.controllerModifyVolume({ volumeId, mutableParameters: { "zfs.compression": "zstd" } });
    expect(await options()).toEqual({ compression: "zstd" });
    expect(await codeOf(driver.controller.controllerModifyVolume({ volumeId, mutableParameters: { sparse: "true" } }))).toBe("InvalidArgument");
    await driver.controller.deleteVolume({ volumeId });
  });

  it("keeps a size above 2^53 exact", async () => {
    const requiredBytes = 9_007_199_254_757_376n;
    await expect(make("exact", blockCapability(), { capacityRange: { requiredBytes } })).rejects.toThrow(String(requiredBytes));
  });
});

describe("publishing", () => {
  it("keeps a single-node volume on one node, and shares raw block that may be shared", async () => {
    const alone = await make("alone", blockCapability());
    const publish = (volumeId: string, nodeId: string, volumeCapability: csi.VolumeCapability, more: object = {}): Promise<string> =>
      codeOf(driver.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability, ...more }));
    expect(await publish(alone, node, blockCapability())).toBe("Ok");
    expect(await publish(alone, node, blockCapability())).toBe("Ok");
    expect(await publish(alone, "hst_tap", blockCapability())).toBe("FailedPrecondition");
    expect(await publish(alone, node, mount)).toBe("AlreadyExists");
    expect(await publish(alone, "hst_tap", mount)).toBe("InvalidArgument");
    expect(await publish(alone, node, blockCapability(), { readonly: true })).toBe("AlreadyExists");
    expect(await publish(alone, "no node", blockCapability())).toBe("NotFound");
    expect(await publish("no volume", node, blockCapability())).toBe("NotFound");
    expect(await codeOf(driver.controller.deleteVolume({ volumeId: alone }))).toBe("FailedPrecondition");

    const shared = await make("shared", blockCapability("MULTI_NODE_MULTI_WRITER"));
    expect(await publish(shared, node, blockCapability("MULTI_NODE_MULTI_WRITER"))).toBe("Ok");
    expect(await publish(shared, "hst_tap", blockCapability("MULTI_NODE_MULTI_WRITER"))).toBe("Ok");
    const { entries } = await driver.controller.listVolumes({});
    const listed = entries.find(({ volume }) => volume?.volumeId === shared);
    expect([...listed!.status!.publishedNodeIds].sort()).toEqual([node, "hst_tap"]);

    // Without a node: from all.
    for (const volumeId of [alone, shared]) {
      await driver.controller.controllerUnpublishVolume({ volumeId });
      const { volume } = await system.volumes.getVolume({ name: `volumes/${volumeId}` });
      expect(volume).toMatchObject({ attachments: [], status: VolumeStatus.INITIAL });
      await driver.controller.deleteVolume({ volumeId });
    }
  });

  it("takes what is gone for unpublished and deleted", async () => {
    expect(await codeOf(driver.controller.controllerUnpublishVolume({ volumeId: "gone", nodeId: node }))).toBe("Ok");
    expect(await codeOf(driver.controller.controllerUnpublishVolume({ volumeId: "Not An Id", nodeId: node }))).toBe("Ok");
    expect(await codeOf(driver.controller.deleteVolume({ volumeId: "gone" }))).toBe("Ok");
    expect(await codeOf(driver.controller.deleteVolume({ volumeId: "Not An Id" }))).toBe("Ok");
  });

  it("fences a node that still has the volume staged, or that does not answer", async () => {
    for (const trouble of ["staged", "away"] as const) {
      const volumeId = await make(`fence-${trouble}`);
      await driver.controller.controllerPublishVolume({ volumeId, nodeId: node, volumeCapability: mount });
      const { world } = system.controlPlane;
      if (trouble === "staged") await driver.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: mount });
      else world.setOnline("hst_take", false);
      expect(await codeOf(driver.controller.controllerUnpublishVolume({ volumeId, nodeId: node }))).toBe("Ok");
      expect(await codeOf(driver.controller.controllerPublishVolume({ volumeId, nodeId: "hst_tap", volumeCapability: mount }))).toBe("Ok");
      world.setOnline("hst_take", true);
      await system.volumes.syncVolumes({});
      await driver.controller.controllerUnpublishVolume({ volumeId, nodeId: "hst_tap" });
      await driver.controller.deleteVolume({ volumeId });
    }
  });
});

describe("the node's calls", () => {
  it("are in order, repeatable, and refuse what does not fit", async () => {
    const single = mountCapability("ext4", "SINGLE_NODE_SINGLE_WRITER", ["noatime"]);
    const volumeId = await make("node", single);
    const stage = (volumeCapability: csi.VolumeCapability, path = stagingTargetPath): Promise<string> =>
      codeOf(driver.node.nodeStageVolume({ volumeId, stagingTargetPath: path, volumeCapability }));
    const publish = (path: string, volumeCapability = single, more: object = {}): Promise<string> =>
      codeOf(driver.node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath: path, volumeCapability, ...more }));
    expect(await stage(single)).toBe("FailedPrecondition");
    await driver.controller.controllerPublishVolume({ volumeId, nodeId: node, volumeCapability: single });
    expect(await publish(targetPath)).toBe("FailedPrecondition");
    expect(await stage(blockCapability())).toBe("InvalidArgument");
    expect(await stage(mountCapability("xfs"))).toBe("InvalidArgument");
    expect(await stage(single)).toBe("Ok");
    expect(await stage(single)).toBe("Ok");
    expect(await stage(mountCapability("ext4", "SINGLE_NODE_SINGLE_WRITER", ["noatime", "ro"]))).toBe("AlreadyExists");
    expect(await stage(mountCapability("ext4"))).toBe("AlreadyExists");
    expect(await stage(blockCapability())).toBe("AlreadyExists");
    expect(await stage(single, "/mnt/elsewhere")).toBe("FailedPrecondition");
    expect(await publish(targetPath)).toBe("Ok");
    expect(await publish(targetPath)).toBe("Ok");
    expect(await publish("/mnt/second")).toBe("FailedPrecondition");
    expect(await publish("/etc/pod")).toBe("FailedPrecondition");
    const otherFlags = mountCapability("ext4", "SINGLE_NODE_WRITER", ["nodev"]);
    expect(await publish("/mnt/second", otherFlags)).toBe("InvalidArgument");
    for (const other of [otherFlags, mountCapability("xfs"), blockCapability(), mountCapability("ext4", "SINGLE_NODE_READER_ONLY", ["noatime"])]) {
      expect(await publish(targetPath, other)).toBe("AlreadyExists");
    }
    expect(await publish(targetPath, single, { readonly: true })).toBe("AlreadyExists");

    const { usage } = await driver.node.nodeGetVolumeStats({ volumeId, volumePath: targetPath });
    expect(usage.map(({ unit, total }) => ({ unit, some: total > 0n }))).toEqual([
      { unit: 1, some: true },
      { unit: 2, some: true },
    ]);
    expect(await codeOf(driver.node.nodeGetVolumeStats({ volumeId, volumePath: "/mnt/none" }))).toBe("NotFound");
    expect(await codeOf(driver.node.nodeExpandVolume({ volumeId, volumePath: "/mnt/none" }))).toBe("NotFound");
    expect((await driver.node.nodeExpandVolume({ volumeId, volumePath: targetPath })).capacityBytes).toBe(64n * mib);

    expect(await codeOf(driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath }))).toBe("FailedPrecondition");
    for (let times = 0; times < 2; times += 1) expect(await codeOf(driver.node.nodeUnpublishVolume({ volumeId, targetPath }))).toBe("Ok");
    for (let times = 0; times < 2; times += 1) expect(await codeOf(driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath }))).toBe("Ok");
    expect(await codeOf(driver.node.nodeUnpublishVolume({ volumeId: "gone", targetPath }))).toBe("NotFound");

    // Mount options that are new go with the next staging.
    expect(await stage(mountCapability("ext4", "SINGLE_NODE_WRITER", ["nodev"]))).toBe("Ok");
    const { volume } = await system.volumes.getVolume({ name: `volumes/${volumeId}` });
    expect(volume?.filesystem?.mountOptions).toEqual(["nodev"]);
    await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
    await driver.controller.controllerUnpublishVolume({ volumeId, nodeId: node });
    await driver.controller.deleteVolume({ volumeId });
  });
});

describe("lists and capacity", () => {
  it("pages, refuses a token that is none with ABORTED, and tells space", async () => {
    const ids = [await make("l1"), await make("l2"), await make("l3")];
    const first = await driver.controller.listVolumes({ maxEntries: 2 });
    const second = await driver.controller.listVolumes({ maxEntries: 2, startingToken: first.nextToken });
    expect([...first.entries, ...second.entries].map(({ volume }) => volume!.volumeId).sort()).toEqual(ids.sort());
    expect(second.nextToken).toBe("");
    expect(await codeOf(driver.controller.listVolumes({ startingToken: "none" }))).toBe("Aborted");
    expect(await codeOf(driver.controller.listVolumes({ maxEntries: -1 }))).toBe("InvalidArgument");
    const all = await driver.controller.getCapacity({});
    expect(all.availableCapacity).toBeGreaterThan(0n);
    expect(all.maximumVolumeSize).toBeLessThan(all.availableCapacity);
    expect((await driver.controller.getCapacity({ parameters: { "hostLabel.zone": "none" } })).availableCapacity).toBe(0n);
    for (const volumeId of ids) await driver.controller.deleteVolume({ volumeId });
  });
});

it("a different call for a volume that is being worked on is ABORTED, the same one joins", async () => {
  const volumeId = await make("pending");
  await driver.controller.controllerPublishVolume({ volumeId, nodeId: node, volumeCapability: mount });
  const { faults } = system.controlPlane.world;
  faults.add({ host: "hst_take", match: { program: "mkfs.ext4" }, effect: { kind: "delay", ms: 1_500 } });
  const stage = (): Promise<string> => codeOf(driver.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: mount }));
  const first = stage();
  await sleep(500);
  const joined = stage();
  expect(await codeOf(driver.controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 128n * mib } }))).toBe("Aborted");
  expect([await first, await joined]).toEqual(["Ok", "Ok"]);
  faults.clear();
  await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
  await driver.controller.controllerUnpublishVolume({ volumeId, nodeId: node });
  await driver.controller.deleteVolume({ volumeId });
});

it("a caller's deadline ends its waiting, not the work", async () => {
  const short = driver.controller.createVolume(
    { name: "late", capacityRange: { requiredBytes: 64n * mib }, volumeCapabilities: [mount], parameters },
    { timeoutMs: 1 },
  );
  expect(await codeOf(short)).toBe("DeadlineExceeded");
  await driver.controller.deleteVolume({ volumeId: await make("late") });
});

it("grows within its pool: more than that is OUT_OF_RANGE, more than there is room for RESOURCE_EXHAUSTED", async () => {
  const volumeId = await make("growing");
  const grow = (requiredBytes: bigint): Promise<string> => codeOf(driver.controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes } }));
  expect(await grow(2n ** 63n - 1n)).toBe("OutOfRange");
  expect(await grow(1n << 50n)).toBe("OutOfRange");
  expect(await grow(64n << 30n)).toBe("ResourceExhausted");
  expect(await grow(128n * mib)).toBe("Ok");
  await driver.controller.deleteVolume({ volumeId });
});

it("logs a refusal in one line with its reason, and no stack", async () => {
  lines.length = 0;
  expect(await codeOf(driver.controller.controllerGetVolume({ volumeId: "csi-gone" }))).toBe("NotFound");
  expect(await codeOf(driver.controller.controllerGetVolume({ volumeId: "no id" }))).toBe("NotFound");
  expect(await codeOf(make("refused", mount, { capacityRange: { requiredBytes: -1n } }))).toBe("OutOfRange");
  const refusals = lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === "call refused");
  expect(refusals).toMatchObject([{ reason: "not_found", level: 30 }, { reason: "not_found", level: 30 }, { reason: "out_of_range", level: 30 }]);
  expect(refusals[0]!["error"]).toBe("GetVolume: volumes/csi-gone does not exist");
  expect(lines.join("")).not.toContain("stack");
});

it("logs no secret, no parameter and no mount flag", async () => {
  const secrets = { token: "s3cr3t-of-the-claim" };
  const flags = mountCapability("ext4", "SINGLE_NODE_WRITER", ["password=s3cr3t-flag"]);
  lines.length = 0;
  expect(await codeOf(make("hush", flags, { secrets, parameters: { ...parameters, "s3cr3t-key": "s3cr3t-value" } }))).toBe("InvalidArgument");
  expect(await codeOf(make("hush", mount, { secrets }))).toBe("InvalidArgument");
  const volumeId = await make("hush");
  await driver.controller.deleteVolume({ volumeId, secrets });
  const log = lines.join("");
  expect(log).toContain("hush");
  expect(log).not.toContain("s3cr3t-of");
  expect(log).not.toContain("s3cr3t-value");
  expect(log).not.toContain("s3cr3t-flag");
});
