import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { Iscsi } from "../iscsiadm/iscsi.ts";
import { parseIqn } from "../lio/names.ts";
import { callOptions as o, ScriptedExecutor, type ScriptedNode } from "../testing/scripted-executor.ts";
import { parseDatasetName } from "../zfs/names.ts";
import { BlockDevices } from "./block-device.ts";

const quick = { firstMs: 1, maxMs: 1, limitMs: 3 };
const waits = { linkBackoff: quick, nudgedLinkBackoff: quick, deviceBackoff: quick };
const dataset = parseDatasetName("tank/zfsilo/v1");
const target = parseIqn("iqn.2026-01.io.zfsilo:0123456789abcdef");

const devices = (executor: ScriptedExecutor): BlockDevices => new BlockDevices(executor, new Iscsi(executor), waits);
const node = (name: string, sectors: number, number: string): Record<string, ScriptedNode> => ({
  [`/dev/${name}`]: "",
  [`/sys/class/block/${name}/size`]: `${sectors}\n`,
  [`/sys/class/block/${name}/dev`]: `${number}\n`,
});
const zd0 = { ...node("zd0", 524288, "230:0"), "/sys/block/zd0/dev": "230:0\n" };
const link = { "/dev/zvol/tank/zfsilo/v1": { link: "../../../zd0" } };

describe("awaitZvolDevice", () => {
  it("follows the link to the node", async () => {
    const found = await devices(new ScriptedExecutor({ nodes: { ...zd0, ...link } })).awaitZvolDevice(dataset, o);
    expect(found).toEqual({ name: "zd0", path: "/dev/zd0", sizeBytes: 268435456n, majorMinor: "230:0", readOnly: false });
  });

  it("announces the devices that udev made no link for, and no others", async () => {
    const nodes = {
      ...zd0,
      "/sys/block/zd16/dev": "230:16\n",
      "/run/udev/data/b230:0": "I:1\nV:1\n",
      "/run/udev/data/b230:16": "S:disk/by-diskseq/20\nS:zvol/tank/zfsilo/v2\nV:1\n",
    };
    const executor = new ScriptedExecutor({ nodes, runs: [{ argv: "udevadm trigger --action=change /dev/zd0" }] });
    executor.onBatch = (_, operations): void => {
      if (operations[0]?.op === "readlink" && executor.leftOver === 0) executor.nodes.set(...Object.entries(link)[0]!);
    };
    expect(await devices(executor).awaitZvolDevice(dataset, o)).toMatchObject({ name: "zd0" });
  });

  it("explains a link that never comes", async () => {
    const executor = new ScriptedExecutor({ nodes: zd0, runs: [{ argv: "udevadm trigger --action=change /dev/zd0" }] });
    await expect(devices(executor).awaitZvolDevice(dataset, o)).rejects.toMatchObject({ reason: "unavailable" });
    await expect(devices(new ScriptedExecutor()).awaitZvolDevice(dataset, o)).rejects.toMatchObject({ reason: "unavailable" });
  });
});

describe("awaitIscsiDevice", () => {
  const unit = "/sys/class/iscsi_session/session1/device/target2:0:0/2:0:0:0";
  const session = {
    "/sys/class/iscsi_session/session1/targetname": `${target}\n`,
    "/sys/class/iscsi_session/session1/state": "LOGGED_IN\n",
    "/sys/class/iscsi_session/session1/ifacename": "default\n",
    [`${unit}/block/sda/size`]: "524288\n",
    [`${unit}/vpd_pg80`]: "\u0000\ufffd\u0000\u00110123456789abcdef\u0000",
  };

  it("finds the disk by session and serial", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...session, ...node("sda", 524288, "8:0") } });
    expect(await devices(executor).awaitIscsiDevice({ target }, "0123456789abcdef", o)).toMatchObject({ path: "/dev/sda" });
  });

  it("refuses another disk", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...session, ...node("sda", 524288, "8:0") } });
    await expect(devices(executor).awaitIscsiDevice({ target }, "fedcba9876543210", o)).rejects.toMatchObject({
      reason: "precondition",
    });
  });

  it.each([
    ["session", {}],
    ["node", session],
    ["serial", { ...session, ...node("sda", 1, "8:0"), [`${unit}/vpd_pg80`]: "" }],
  ])("waits for a %s that never comes", async (_, nodes) => {
    const executor = new ScriptedExecutor({ nodes });
    await expect(devices(executor).awaitIscsiDevice({ target }, "0123456789abcdef", o)).rejects.toMatchObject({
      reason: "unavailable",
    });
  });
});

describe("awaitSize", () => {
  it("makes the kernel look until the size is there", async () => {
    const executor = new ScriptedExecutor({ nodes: node("sda", 524288, "8:0") });
    executor.onBatch = (_, operations): void => {
      if (operations[0]?.op === "write") executor.nodes.set("/sys/class/block/sda/size", "1048576\n");
    };
    expect(await devices(executor).awaitSize("/dev/sda", bytes(536870912), o)).toMatchObject({ sizeBytes: 536870912n });
    expect(executor.log).toContain("write /sys/class/block/sda/device/rescan 1");
  });

  it("asks nothing of a disk that has it", async () => {
    const executor = new ScriptedExecutor({ nodes: node("sda", 524288, "8:0") });
    await devices(executor).awaitSize("/dev/sda", bytes(268435456), o);
    expect(executor.batches).toHaveLength(1);
  });

  it("says what it still sees", async () => {
    const executor = new ScriptedExecutor({ nodes: node("sda", 8, "8:0") });
    await expect(devices(executor).awaitSize("/dev/sda", bytes(8192), o)).rejects.toThrow("it has 4096");
  });
});
