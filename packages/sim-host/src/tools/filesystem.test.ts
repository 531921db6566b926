import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openHosts, type Host, type Hosts } from "../testing/hosts.ts";

let hosts: Hosts;
let give: Host;

beforeEach(async () => {
  hosts = await openHosts();
  ({ give } = hosts);
});
afterEach(async () => {
  await hosts.world.close();
});

const volume = async (name: string, size: string): Promise<string> => {
  await give.ok("zfs", "create", "-s", "-V", size, `tank/${name}`);
  return `/dev/zvol/tank/${name}`;
};

describe("xfs", () => {
  const uuid = "3e1b2c4d-5f60-4718-8293-a4b5c6d7e8f9";

  it("is made, mounted, grown while mounted, and never written over", async () => {
    const device = await volume("x", "512M");
    await give.ok("mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, device);
    expect(await give.ok("blkid", "-p", "-o", "export", device)).toContain(`UUID=${uuid}\nBLOCK_SIZE=512\nTYPE=xfs\n`);
    expect(await give.ok("xfs_info", device)).toMatch(/^data {5}= {23}bsize=4096 {3}blocks=131072, imaxpct=25$/m);
    expect((await give.run("xfs_repair", "-n", device)).exitCode).toBe(0);
    await give.ok("mount", "-t", "xfs", "-o", "rw,noatime", device, "/mnt");
    await give.ok("zfs", "set", "volsize=1G", "tank/x");
    expect(await give.ok("xfs_growfs", "/mnt")).toContain("data blocks changed from 131072 to 262144\n");
    expect(await give.ok("stat", "-f", "-c", "%S %b %T", "/mnt")).toBe("4096 245760 xfs\n");
    expect((await give.run("mkfs.xfs", "-q", "-K", device)).exitCode).toBe(1);
  });

  it("refuses a clone beside its origin, but with nouuid", async () => {
    const device = await volume("x", "512M");
    await give.ok("mkfs.xfs", "-q", "-K", device);
    await give.ok("zfs", "snapshot", "tank/x@s");
    await give.ok("zfs", "clone", "tank/x@s", "tank/y");
    await give.ok("mount", "-t", "xfs", "-o", "rw", device, "/mnt");
    expect((await give.run("mount", "-t", "xfs", "-o", "rw", "/dev/zvol/tank/y", "/srv")).exitCode).toBe(32);
    await give.ok("mount", "-t", "xfs", "-o", "rw,nouuid", "/dev/zvol/tank/y", "/srv");
    await give.ok("umount", "/mnt");
    await give.ok("umount", "/srv");
    await give.ok("mount", "-t", "xfs", "-o", "rw", "/dev/zvol/tank/y", "/srv");
  });

  it("whose mkfs was interrupted says so, does not mount, and is no blank device", async () => {
    const device = await volume("x", "512M");
    hosts.world.faults.add({ match: { program: "mkfs.xfs" }, effect: { kind: "interrupt" } });
    await expect(give.run("mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, device)).rejects.toThrow();
    expect(await give.ok("blkid", "-p", "-o", "export", device)).toContain(`UUID=${uuid}\n`);
    expect(await give.ok("xfs_db", "-r", "-c", "sb 0", "-c", "print inprogress", device)).toBe("inprogress = 1\n");
    expect(await give.run("xfs_repair", "-n", device)).toMatchObject({ exitCode: 1, stdout: expect.stringContaining("mkfs-in-progress") as string });
    expect((await give.run("mount", "-t", "xfs", "-o", "rw", device, "/mnt")).exitCode).toBe(32);
    expect((await give.run("mkfs.xfs", "-q", "-K", device)).exitCode).toBe(1);
    await give.ok("dd", "if=/dev/zero", `of=${device}`, "bs=1048576", "count=1", "conv=nocreat,fsync");
    await give.ok("mkfs.xfs", "-q", "-K", device);
    expect(await give.ok("xfs_db", "-r", "-c", "sb 0", "-c", "print inprogress", device)).toBe("inprogress = 0\n");
  });

  it("is not made on less than 300 MB", async () => {
    const device = await volume("x", "256M");
    expect(await give.run("mkfs.xfs", "-q", "-K", device)).toMatchObject({
      exitCode: 1,
      stderr: "Filesystem must be larger than 300MB.\n",
    });
  });
});

describe("a filesystem", () => {
  it("whose mkfs was interrupted is nothing that blkid knows, and no blank device", async () => {
    const device = await volume("e", "64M");
    hosts.world.faults.add({ match: { program: "mkfs.ext4" }, effect: { kind: "interrupt" } });
    await expect(give.run("mkfs.ext4", "-q", device)).rejects.toThrow();
    expect((await give.run("blkid", "-p", "-o", "export", device)).exitCode).toBe(2);
    expect((await give.run("cmp", "-n", "1048576", device, "/dev/zero")).exitCode).toBe(1);
    await give.ok("dd", "if=/dev/zero", `of=${device}`, "bs=1048576", "count=1", "conv=nocreat,fsync");
    expect((await give.run("cmp", "-n", "1048576", device, "/dev/zero")).exitCode).toBe(0);
  });

  it("is full before its device is", async () => {
    const device = await volume("e", "1M");
    await give.ok("mkfs.ext4", "-q", device);
    await give.ok("mount", "-o", "rw", device, "/mnt");
    const file = { op: "write", path: "/mnt/f", create: { mode: 0o600 } } as const;
    expect(await give.errno({ ...file, content: "x".repeat(2 * 1024 * 1024) })).toBe("ENOSPC");
    expect(await give.errno({ ...file, content: "x".repeat(512 * 1024) })).toBeUndefined();
  });

  it("is gone when raw bytes are written over its beginning, and its place is no longer blank", async () => {
    const device = await volume("e", "64M");
    await give.ok("mkfs.ext4", "-q", device);
    expect((await give.run("cmp", "-n", "1048576", device, "/dev/zero")).exitCode).toBe(1);
    await give.files({ op: "write", path: device, content: "\0".repeat(2048) });
    expect((await give.run("blkid", "-p", "-o", "export", device)).exitCode).toBe(2);
    expect((await give.run("cmp", "-n", "1048576", device, "/dev/zero")).exitCode).toBe(0);
    await give.files({ op: "write", path: device, content: "somebody's data" });
    expect((await give.run("blkid", "-p", "-o", "export", device)).exitCode).toBe(2);
    expect(await give.run("cmp", "-n", "1048576", device, "/dev/zero")).toMatchObject({
      exitCode: 1,
      stdout: `${device} /dev/zero differ: char 1, line 1\n`,
    });
  });

  it("that is damaged does not mount, and is reported by a check", async () => {
    const device = await volume("e", "64M");
    await give.ok("mkfs.ext4", "-q", device);
    hosts.world.damageFilesystem("give", "tank/e");
    expect((await give.run("mount", "-o", "rw", device, "/mnt")).exitCode).toBe(32);
    expect((await give.run("e2fsck", "-p", device)).exitCode).toBe(4);
  });

  it("loses what lies beyond a device that was made smaller", async () => {
    const device = await volume("e", "64M");
    await give.ok("mkfs.ext4", "-q", device);
    await give.ok("zfs", "set", "volsize=32M", "tank/e");
    expect((await give.run("mount", "-o", "rw", device, "/mnt")).exitCode).toBe(32);
  });

  it("shows a directory of it elsewhere, and read-only where asked", async () => {
    const device = await volume("e", "64M");
    await give.ok("mkfs.ext4", "-q", device);
    await give.ok("mount", "-o", "rw", device, "/mnt");
    await give.files({ op: "mkdir", path: "/mnt/d" }, { op: "mkdir", path: "/srv/d" });
    await give.put("/mnt/d/f", "text");
    await give.ok("mount", "--bind", "/mnt/d", "/srv/d");
    await give.ok("mount", "-o", "remount,bind,ro", "/srv/d");
    expect(await give.read("/srv/d/f")).toBe("text");
    expect(await give.errno({ op: "unlink", path: "/srv/d/f" })).toBe("EROFS");
    expect(await give.errno({ op: "rmdir", path: "/srv/d" })).toBe("EBUSY");
    expect(await give.read("/proc/self/mountinfo")).toContain(" 230:0 /d /srv/d ro,relatime shared:101 - ext4 /dev/zd0 rw\n");
    await give.ok("umount", "/mnt");
    expect(await give.read("/srv/d/f")).toBe("text");
    expect((await give.run("zfs", "destroy", "tank/e")).stderr).toContain("dataset is busy");
    await give.ok("umount", "/srv/d");
    await give.ok("zfs", "destroy", "tank/e");
  });

  it("hashes and shows what is in its files", async () => {
    await give.put("/tmp/f", "hello\n");
    expect(await give.ok("cat", "/tmp/f")).toBe("hello\n");
    expect(await give.ok("sha256sum", "/tmp/f")).toBe(
      "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  /tmp/f\n",
    );
  });
});
