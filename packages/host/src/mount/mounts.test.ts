import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedNode, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseHostPath } from "./host-path.ts";
import { parseMountOptions } from "./mount-options.ts";
import { mountOf, mountsAt, mountsOfDevice, parseMountinfo } from "./mountinfo.ts";
import { Mounts } from "./mounts.ts";

const captured = readTestdata(import.meta.url, "mountinfo.linux-6.1.stdout.txt");
const bare = captured.split("\n").filter((line) => !line.includes(" /mnt/")).join("\n");
const target = parseHostPath("/mnt/a");
const spec = { device: "/dev/sda", target, type: "ext4", options: ["noatime"], readOnly: false } as const;
const line = (text: string): string => `${bare}${text}\n`;
const mounted = line("95 27 8:0 / /mnt/a rw,noatime shared:48 - ext4 /dev/sda rw,stripe=16");
const readOnly = line("95 27 8:0 / /mnt/a ro,noatime shared:48 - ext4 /dev/sda ro");
const sda = { "/sys/class/block/sda/dev": "8:0\n" };
const mount: ScriptedRun = { argv: "mount -t ext4 -o rw,noatime /dev/sda /mnt/a" };

/** A host whose mountinfo becomes the next text after each command. */
function hostWith(mountinfos: readonly string[], runs: readonly ScriptedRun[], nodes: Record<string, ScriptedNode> = sda): ScriptedExecutor {
  const executor = new ScriptedExecutor({ runs, nodes });
  const left = runs.length;
  executor.onBatch = (): void => {
    const done = left - executor.leftOver;
    executor.nodes.set("/proc/self/mountinfo", mountinfos[Math.min(done, mountinfos.length - 1)] ?? "");
  };
  return executor;
}

describe("mountinfo", () => {
  const mounts = parseMountinfo(captured);

  it("reads what a host shows", () => {
    expect(mountsAt(mounts, "/mnt/a")).toEqual([
      {
        id: 95,
        parentId: 27,
        majorMinor: "8:0",
        root: "/",
        target: "/mnt/a",
        options: ["rw", "noatime"],
        type: "ext4",
        source: "/dev/sda",
        superOptions: ["rw", "stripe=16"],
      },
    ]);
    expect(mountsAt(mounts, "/mnt/odd dir")).toHaveLength(1);
    expect(mountsAt(mounts, "/mnt/dev")[0]).toMatchObject({ type: "devtmpfs", root: "/sdb" });
  });

  it("finds what a path lies in, and what shows a device", () => {
    expect(mountOf(mounts, "/mnt/a/deep/er")?.target).toBe("/mnt/a");
    expect(mountOf(mounts, "/mnt/ab")?.target).toBe("/");
    expect(mountOf(mounts, "/dev/sdb")).toMatchObject({ type: "devtmpfs", target: "/dev" });
    const shown = (name: string, majorMinor: string): string[] => mountsOfDevice(mounts, { name, majorMinor }).map((m) => m.target);
    expect(shown("sda", "8:0")).toEqual(["/mnt/a", "/mnt/t", "/mnt/odd dir"]);
    expect(shown("sdb", "8:16")).toEqual(["/mnt/dev"]);
  });

  it("reads a line without optional fields, and refuses half a line", () => {
    expect(parseMountinfo("1 0 8:0 / /a\\134b rw - ext4 none rw\n")[0]).toMatchObject({ target: "/a\\b", type: "ext4" });
    expect(() => parseMountinfo("1 0 8:0 / /a rw shared:1 - ext4\n")).toThrow("unreadable line");
  });
});

describe("mountDevice", () => {
  it("makes the directory, mounts, and looks", async () => {
    const executor = hostWith([bare, mounted], [mount]);
    expect(await new Mounts(executor).mountDevice(spec, o)).toMatchObject({ majorMinor: "8:0", target });
    expect(executor.log).toContain("mkdir /mnt/a");
    expect(executor.leftOver).toBe(0);
  });

  it("is done when it is so", async () => {
    await new Mounts(hostWith([mounted], [])).mountDevice(spec, o);
  });

  it.each([
    ["another device", line("95 27 8:16 / /mnt/a rw - ext4 /dev/sda rw")],
    ["a part of it", line("95 27 8:0 /sub /mnt/a rw - ext4 /dev/sda rw")],
    ["read-only", readOnly],
    ["a stack", mounted + "96 95 8:0 / /mnt/a rw - ext4 /dev/sda rw\n"],
  ])("refuses to cover or adopt %s", async (_, text) => {
    await expect(new Mounts(hostWith([text], [])).mountDevice(spec, o)).rejects.toMatchObject({ reason: "precondition" });
  });

  it.each([
    ["nothing", bare],
    ["another device", line("95 27 8:16 / /mnt/a rw - ext4 /dev/sdb rw")],
    ["a fallback to read-only", readOnly],
  ])("does not call it done when %s shows", async (_, text) => {
    await expect(new Mounts(hostWith([bare, text], [mount])).mountDevice(spec, o)).rejects.toMatchObject({ reason: "internal" });
  });

  it("needs the device", async () => {
    await expect(new Mounts(hostWith([bare], [], {})).mountDevice(spec, o)).rejects.toMatchObject({ reason: "precondition" });
  });
});

describe("paths with links", () => {
  const nodes = { ...sda, "/var/lib/kubelet": { link: "../../data/kubelet" } };
  const linked = { ...spec, target: parseHostPath("/var/lib/kubelet/p/mount") };

  it("are followed, since mountinfo shows where they lead", async () => {
    const run = { argv: "mount -t ext4 -o rw,noatime /dev/sda /data/kubelet/p/mount" };
    const executor = hostWith([bare, line("95 27 8:0 / /data/kubelet/p/mount rw - ext4 /dev/sda rw")], [run], nodes);
    expect(await new Mounts(executor).mountDevice(linked, o)).toMatchObject({ target: "/data/kubelet/p/mount" });
  });

  it("may not lead out of the roots", async () => {
    const executor = hostWith([bare], [], nodes);
    const mounts = new Mounts(executor, { roots: [parseHostPath("/var/lib/kubelet")] });
    await expect(mounts.mountDevice(linked, o)).rejects.toMatchObject({ reason: "invalid_argument" });
  });

  it("may not lead in circles", async () => {
    const executor = hostWith([bare], [], { "/a": { link: "/b" }, "/b": { link: "a" } });
    await expect(new Mounts(executor).find(parseHostPath("/a/x"), o)).rejects.toThrow("too many symbolic links");
  });
});

describe("bindMount", () => {
  const at = parseHostPath("/mnt/t");
  const bound = `${mounted}98 27 8:0 /sub /mnt/t rw,noatime - ext4 /dev/sda rw\n`;
  const boundReadOnly = bound.replace("/mnt/t rw", "/mnt/t ro");
  const bind = { argv: "mount --bind /mnt/a/sub /mnt/t" };
  const remount = { argv: "mount -o remount,bind,ro /mnt/t" };
  const directory = { source: parseHostPath("/mnt/a/sub"), target: at, readOnly: false };

  it("shows a directory, also read-only", async () => {
    await new Mounts(hostWith([mounted, bound], [bind])).bindMount(directory, o);
    const executor = hostWith([mounted, bound, boundReadOnly], [bind, remount]);
    expect(await new Mounts(executor).bindMount({ ...directory, readOnly: true }, o)).toMatchObject({ options: ["ro", "noatime"] });
  });

  it("finishes a read-only bind that was cut off", async () => {
    const executor = hostWith([bound, boundReadOnly], [remount]);
    await new Mounts(executor).bindMount({ ...directory, readOnly: true }, o);
    expect(executor.leftOver).toBe(0);
  });

  it("does not call a bind read-only that is not", async () => {
    const executor = hostWith([mounted, bound, bound], [bind, remount]);
    await expect(new Mounts(executor).bindMount({ ...directory, readOnly: true }, o)).rejects.toMatchObject({ reason: "internal" });
  });

  it("shows a device on a file", async () => {
    const text = `${bare}101 27 0:5 /sdb /mnt/dev rw,nosuid shared:2 - devtmpfs udev rw\n`;
    const executor = hostWith([bare, text], [{ argv: "mount --bind /dev/sdb /mnt/dev" }]);
    const device = { source: parseHostPath("/dev/sdb"), target: parseHostPath("/mnt/dev"), readOnly: false };
    expect(await new Mounts(executor).bindMount(device, o)).toMatchObject({ root: "/sdb" });
    expect(executor.log).toContain("write /mnt/dev ");
    expect(executor.log).not.toContain("mkdir /mnt/dev");
  });

  it("covers no file with content", async () => {
    const executor = hostWith([bare], [], { "/mnt/dev": "data" });
    const device = { source: parseHostPath("/dev/sdb"), target: parseHostPath("/mnt/dev"), readOnly: false };
    await expect(new Mounts(executor).bindMount(device, o)).rejects.toMatchObject({ reason: "precondition" });
  });

  it("refuses a target that shows something else", async () => {
    const other = `${mounted}98 27 8:0 /other /mnt/t rw - ext4 /dev/sda rw\n`;
    await expect(new Mounts(hostWith([other], [])).bindMount(directory, o)).rejects.toMatchObject({ reason: "precondition" });
  });
});

describe("unmount", () => {
  const umount = { argv: "umount /mnt/a" };
  const stacked = mounted + "96 95 8:0 / /mnt/a rw - ext4 /dev/sda rw\n";

  it("is done when nothing is there", async () => {
    await new Mounts(hostWith([bare], [])).unmount(target, o);
  });

  it("takes a stack away", async () => {
    const executor = hostWith([stacked, mounted, bare], [umount, umount]);
    await new Mounts(executor).unmount(target, o);
    expect(executor.leftOver).toBe(0);
  });

  it("is done when somebody else did it in between", async () => {
    const gone = { ...umount, exitCode: 32, stderr: "umount: /mnt/a: not mounted.\n" };
    await new Mounts(hostWith([mounted, bare], [gone])).unmount(target, o);
  });

  it("says that it is busy", async () => {
    const busy = { ...umount, exitCode: 32, stderr: "umount: /mnt/a: target is busy.\n" };
    await expect(new Mounts(hostWith([mounted], [busy])).unmount(target, o)).rejects.toMatchObject({ reason: "busy", hint: expect.stringContaining("fuser") as string });
    const below = `${mounted}97 95 8:16 / /mnt/a/b rw - ext4 /dev/sdb rw\n`;
    const named = { reason: "busy", message: expect.stringContaining("held by a mount at /mnt/a/b") as string, hint: "Unmount /mnt/a/b first." };
    await expect(new Mounts(hostWith([below], [busy])).unmount(target, o)).rejects.toMatchObject(named);
  });

  it("gives up on a mount that comes back", async () => {
    const executor = hostWith([mounted], Array.from({ length: 8 }, () => umount));
    await expect(new Mounts(executor).unmount(target, o)).rejects.toMatchObject({ reason: "precondition" });
  });
});

function answeringRmdir(executor: ScriptedExecutor, errno: string): ScriptedExecutor {
  const files = executor.files.bind(executor);
  executor.files = async (operations, options) => {
    if (operations[0]?.op === "rmdir") return [{ errno }];
    return await files(operations, options);
  };
  return executor;
}

describe("removeTarget", () => {
  it("removes an empty directory", async () => {
    const executor = hostWith([bare], [], {});
    await new Mounts(executor).removeTarget(target, o);
    expect(executor.log.at(-1)).toBe("rmdir /mnt/a");
  });

  it("refuses while something is mounted on it", async () => {
    await expect(new Mounts(hostWith([mounted], [], {})).removeTarget(target, o)).rejects.toThrow();
  });

  it.each(["ENOTEMPTY", "EBUSY", "EPERM", "EROFS"])("keeps a directory that answers %s", async (errno) => {
    const executor = answeringRmdir(hostWith([bare], [], {}), errno);
    expect(await new Mounts(executor).removeTarget(target, o)).toBe("kept");
  });

  it.each([
    ["", true],
    ["data", false],
  ])("with a file holding %j: removed is %s", async (content, removed) => {
    const executor = answeringRmdir(hostWith([bare], [], { "/mnt/a": content }), "ENOTDIR");
    expect(await new Mounts(executor).removeTarget(target, o)).toBe(removed ? "removed" : "kept");
    expect(executor.log.includes("unlink /mnt/a")).toBe(removed);
  });
});

describe("parseMountOptions", () => {
  it("takes what it knows", () => {
    expect(parseMountOptions("xfs", ["nouuid", "noatime"])).toEqual(["nouuid", "noatime"]);
  });

  it.each([
    ["ext4", "nouuid"],
    ["ext4", "noatime,suid"],
    ["ext4", "noatime\n"],
    ["ext4", "remount"],
    ["xfs", "rw"],
    ["xfs", ""],
    ["xfs", "loop"],
  ] as const)("refuses on %s %j", (type, option) => {
    expect(() => parseMountOptions(type, [option])).toThrow(expect.objectContaining({ details: { field: "mount_options[0]" } }));
  });
});
