import { StorageError } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedNode } from "../testing/scripted-executor.ts";
import { findHolders, nameHolders } from "./holders.ts";

const device = "/dev/zvol/tank/zfsilo/0123456789abcdef";
const block = "/sys/class/block/zd16";
const core = "/sys/kernel/config/target/core";
const base: Record<string, ScriptedNode> = {
  [device]: { link: "../../../zd16" },
  [`${block}/dev`]: "230:16\n",
  [`${block}/zd16p1/dev`]: "230:17\n",
  "/proc/self/mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
  "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
};
const dm = (at: string, name: string, uuid: string): Record<string, ScriptedNode> => ({
  [`${block}/${at}/dev`]: "253:0\n",
  [`${block}/${at}/dm/name`]: `${name}\n`,
  [`${block}/${at}/dm/uuid`]: `${uuid}\n`,
});

describe("findHolders", () => {
  it.each<[string, Record<string, ScriptedNode>, string, string]>([
    ["an LVM volume", dm("holders/dm-0", "vg--one-data", "LVM-abc"), "LVM volume vg--one-data (dm-0)", "`vgchange -an vg-one`"],
    ["one on a partition", dm("zd16p1/holders/dm-3", "vg-data", "LVM-abc"), "LVM volume vg-data (dm-3)", "`vgchange -an vg`"],
    ["multipath", dm("holders/dm-0", "mpatha", "mpath-36001405"), "multipath device mpatha (dm-0)", "`multipath -f mpatha`"],
    ["dm-crypt", dm("holders/dm-0", "secret", "CRYPT-LUKS2-1"), "encrypted device secret (dm-0)", "`cryptsetup close secret`"],
    ["another mapping", dm("holders/dm-0", "mine", ""), "device-mapper device mine (dm-0)", "`dmsetup remove mine`"],
    ["an array", { [`${block}/holders/md0/dev`]: "9:0\n" }, "the RAID array md0", "`mdadm --stop /dev/md0`"],
    ["a mount", { "/proc/self/mountinfo": "36 35 230:16 / /mnt/x rw - ext4 /dev/zd16 rw\n" }, "a mount at /mnt/x", "`umount /mnt/x`"],
    ["a mount of a partition", { "/proc/self/mountinfo": "36 35 230:17 / /mnt/x rw - ext4 /dev/zd16p1 rw\n" }, "a mount at /mnt/x", "`umount /mnt/x`"],
    ["swap", { "/proc/swaps": "Filename\n/dev/zd16                partition\t1\t0\t-2\n" }, "swap on zd16", "`swapoff /dev/zd16`"],
    ["a backstore", { [`${core}/iblock_1/mine/udev_path`]: `/dev/zd16\n` }, "the target's backstore iblock_1/mine", "targetcli"],
  ])("finds %s", async (_, nodes, what, remedy) => {
    const found = await findHolders(new ScriptedExecutor({ nodes: { ...base, ...nodes } }), device, o);
    expect(found).toEqual([{ what, remedy: expect.stringContaining(remedy) as string }]);
    const named = nameHolders(new StorageError("busy", "destroy volume a on give", { details: { tool: "zfs" } }), found);
    expect(named).toMatchObject({ reason: "busy", message: `destroy volume a on give: held by ${what}`, details: { tool: "zfs", holders: what }, hint: found[0]?.remedy });
  });

  it("finds nobody where there is nobody, and never adds a failure of its own", async () => {
    const own = { [`${core}/iblock_0/0123456789abcdef/udev_path`]: `${device}\n` };
    expect(await findHolders(new ScriptedExecutor({ nodes: { ...base, ...own } }), device, o, `${core}/iblock_0/0123456789abcdef`)).toEqual([]);
    expect(await findHolders(new ScriptedExecutor({ nodes: { [device]: { errno: "EIO" } } }), device, o)).toEqual([]);
    const failure = new StorageError("busy", "destroy volume a on give");
    expect(nameHolders(failure, [])).toBe(failure);
  });
});
