import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GiB, handle, iqn, login, openHosts, publish, putRecord, takeName, type Hosts } from "./testing/hosts.ts";

/** One row for each line of what real machines answered (Debian 12: ZFS 2.1.11, open-iscsi 2.1.8, util-linux 2.38). */
let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts({}, 4n * GiB);
});
afterEach(async () => {
  await hosts.world.close();
});

type Row = readonly [what: string, setup: readonly string[], command: string, exitCode: number, stderr: string];

const words = (line: string): [string, ...string[]] => {
  const [program = "", ...args] = line.split(" ").map((word) => word.replaceAll("_", " "));
  return [program, ...args];
};

const z1 = "zfs create -V 64M tank/z1";

const zfs: readonly Row[] = [
  ["create, exists", [z1], z1, 1, "cannot create 'tank/z1': dataset already exists\n"],
  ["create -p, exists", [z1], "zfs create -p -V 1G tank/z1", 0, ""],
  ["create, no parent", [], "zfs create -V 64M tank/none/z1", 1, "cannot create 'tank/none/z1': parent does not exist\n"],
  ["create, no pool", [], "zfs create -V 64M nopool/z1", 1, "cannot open 'nopool': no such pool\n"],
  ["create, too large", [], "zfs create -V 100G tank/z2", 1, "cannot create 'tank/z2': out of space\n"],
  ["create, sparse and too large", [], "zfs create -s -V 100G tank/z2", 0, ""],
  ["create, no size", [], "zfs create -V 0 tank/z2", 1, "cannot create 'tank/z2': volume size cannot be zero\n"],
  ["create, bad property", [], "zfs create -V 64M -o nosuch=1 tank/z2", 1, "cannot create 'tank/z2': invalid property 'nosuch'\n"],
  [
    "create, bad block size",
    [],
    "zfs create -V 64M -o volblocksize=3000 tank/z2",
    1,
    "cannot create 'tank/z2': 'volblocksize' must be power of 2 from 512B to 1M\n",
  ],
  ["create, a space and @", [], "zfs create -V 64M tank/a_b@c", 1, "cannot create 'tank/a b@c': snapshot delimiter '@' is not expected here\n"],
  ["create, bad character", [], "zfs create -V 64M tank/a$b", 1, "cannot create 'tank/a$b': invalid character '$' in name\n"],
  ["create, long name", [], `zfs create -V 64M tank/${"n".repeat(252)}`, 1, `cannot create 'tank/${"n".repeat(252)}': name is too long\n`],
  ["set volsize, odd", [z1], "zfs set volsize=67108865 tank/z1", 1, "cannot set property for 'tank/z1': 'volsize' must be a multiple of volume block size (8K)\n"],
  ["set volsize, too large", [z1], "zfs set volsize=100G tank/z1", 1, "cannot set property for 'tank/z1': size is greater than available space\n"],
  ["set volsize, smaller", [z1], "zfs set volsize=32M tank/z1", 0, ""],
  ["set, unknown", [z1], "zfs set nosuch=1 tank/z1", 1, "cannot set property for 'tank/z1': invalid property 'nosuch'\n"],
  ["set, read-only", [z1], "zfs set volblocksize=16K tank/z1", 1, "cannot set property for 'tank/z1': 'volblocksize' is readonly\n"],
  ["set, not for volumes", [z1], "zfs set quota=1G tank/z1", 1, "cannot set property for 'tank/z1': 'quota' does not apply to datasets of this type\n"],
  ...["set a:b=1", "get -Hp volsize", "list -Hp", "destroy"].map(
    (verb): Row => [`${verb}, absent`, [], `zfs ${verb} tank/none`, 1, "cannot open 'tank/none': dataset does not exist\n"],
  ),
  ["list, no pool", [], "zfs list -Hp nopool/a", 1, "cannot open 'nopool/a': dataset does not exist\n"],
  ["zpool list, no pool", [], "zpool list -Hp nopool", 1, "cannot open 'nopool': no such pool\n"],
  [
    "destroy, has snapshots",
    [z1, "zfs snapshot tank/z1@s"],
    "zfs destroy tank/z1",
    1,
    "cannot destroy 'tank/z1': volume has children\nuse '-r' to destroy the following datasets:\ntank/z1@s\n",
  ],
  [
    "destroy -r, has clones",
    [z1, "zfs snapshot tank/z1@s", "zfs clone tank/z1@s tank/c1"],
    "zfs destroy -r tank/z1",
    1,
    "cannot destroy 'tank/z1': volume has dependent clones\nuse '-R' to destroy the following datasets:\ntank/c1\n",
  ],
  [
    "destroy a snapshot with a clone",
    [z1, "zfs snapshot tank/z1@s", "zfs clone tank/z1@s tank/c1"],
    "zfs destroy tank/z1@s",
    1,
    "cannot destroy 'tank/z1@s': snapshot has dependent clones\nuse '-R' to destroy the following datasets:\ntank/c1\n",
  ],
  [
    "destroy a held snapshot",
    [z1, "zfs snapshot tank/z1@s", "zfs hold keep tank/z1@s"],
    "zfs destroy tank/z1@s",
    1,
    "cannot destroy snapshot tank/z1@s: dataset is busy\n",
  ],
  ["destroy a missing snapshot", [z1], "zfs destroy tank/z1@s", 1, "could not find any snapshots to destroy; check snapshot names.\n"],
  ["snapshot, exists", [z1, "zfs snapshot tank/z1@s"], "zfs snapshot tank/z1@s", 1, "cannot create snapshot 'tank/z1@s': dataset already exists\n"],
  ["clone, no snapshot", [z1], "zfs clone tank/z1@none tank/c1", 1, "cannot open 'tank/z1@none': dataset does not exist\n"],
  [
    "clone, exists",
    [z1, "zfs snapshot tank/z1@s", "zfs clone tank/z1@s tank/c1"],
    "zfs clone tank/z1@s tank/c1",
    1,
    "cannot create 'tank/c1': dataset already exists\n",
  ],
  [
    "hold twice",
    [z1, "zfs snapshot tank/z1@s", "zfs hold keep tank/z1@s"],
    "zfs hold keep tank/z1@s",
    1,
    "cannot hold snapshot 'tank/z1@s': tag already exists on this dataset\n",
  ],
  [
    "release, unknown",
    [z1, "zfs snapshot tank/z1@s"],
    "zfs release keep tank/z1@s",
    1,
    "cannot release hold from snapshot 'tank/z1@s': no such tag on this dataset\n",
  ],
  ["rename, exists", [z1, "zfs create -V 8M tank/z2"], "zfs rename tank/z1 tank/z2", 1, "cannot rename 'tank/z1': dataset already exists\n"],
  ["promote, no clone", [z1], "zfs promote tank/z1", 1, "cannot promote 'tank/z1': not a cloned filesystem\n"],
];

const zd0 = "/dev/zvol/tank/z1";
const formatted = [z1, `mkfs.ext4 -q ${zd0}`];

const filesystems: readonly Row[] = [
  ["mount, blank", [z1], `mount -t ext4 -o rw ${zd0} /mnt`, 32, `mount: /mnt: wrong fs type, bad option, bad superblock on ${zd0}, missing codepage or helper program, or other error.\n       dmesg(1) may have more information after failed mount system call.\n`],
  ["mount, wrong type", formatted, `mount -t xfs -o rw ${zd0} /mnt`, 32, `mount: /mnt: wrong fs type, bad option, bad superblock on ${zd0}, missing codepage or helper program, or other error.\n       dmesg(1) may have more information after failed mount system call.\n`],
  ["mount, no directory", formatted, `mount -t ext4 -o rw ${zd0} /mnt/none`, 32, "mount: /mnt/none: mount point does not exist.\n"],
  ["mount, second place", [...formatted, `mount -o rw ${zd0} /mnt`], `mount -o rw ${zd0} /srv`, 0, ""],
  ["umount, not mounted", [], "umount /mnt", 32, "umount: /mnt: not mounted.\n"],
  ["umount, no directory", [], "umount /mnt/none", 32, "umount: /mnt/none: no mount point specified.\n"],
  ["umount, busy", [...formatted, `mount -o rw ${zd0} /mnt`, "mount --bind /mnt /mnt/lost+found"], "umount /mnt", 32, "umount: /mnt: target is busy.\n"],
  ["blkid, blank", [z1], `blkid -p -o export ${zd0}`, 2, ""],
  ["blkid, no device", [], "blkid -p -o export /dev/zd7", 2, ""],
  ["mkfs.ext4, mounted", [...formatted, `mount -o rw ${zd0} /mnt`], `mkfs.ext4 -q ${zd0}`, 1, `mke2fs 1.47.0 (5-Feb-2023)\n${zd0} is mounted; will not make a filesystem here!\n`],
  ["mkfs.ext4, tiny", ["zfs create -V 8K tank/z1"], `mkfs.ext4 -q ${zd0}`, 1, `${zd0}: Not enough space to build proposed filesystem while setting up superblock\n`],
  ["mkfs.ext4, no device", [], "mkfs.ext4 -q /dev/zd7", 1, "mke2fs 1.47.0 (5-Feb-2023)\nThe file /dev/zd7 does not exist and no size was specified.\n"],
  ["mkfs.ext4 over an ext4", formatted, `mkfs.ext4 -q ${zd0}`, 0, ""],
  ["mkfs.xfs over an ext4", formatted, `mkfs.xfs -q -K ${zd0}`, 1, `mkfs.xfs: ${zd0} appears to contain an existing filesystem (ext4).\nmkfs.xfs: Use the -f option to force overwrite.\n`],
  ["resize2fs, unclean", [...formatted, `mount -o rw ${zd0} /mnt`, "umount /mnt", "zfs set volsize=128M tank/z1"], `resize2fs ${zd0}`, 1, `resize2fs 1.47.0 (5-Feb-2023)\nPlease run 'e2fsck -f ${zd0}' first.\n\n`],
  ["resize2fs, nothing to do", formatted, `resize2fs ${zd0}`, 0, "resize2fs 1.47.0 (5-Feb-2023)\nThe filesystem is already 65536 (1k) blocks long.  Nothing to do!\n\n"],
  ["resize2fs, no filesystem", [z1], `resize2fs ${zd0}`, 1, `resize2fs 1.47.0 (5-Feb-2023)\nresize2fs: Bad magic number in super-block while trying to open ${zd0}\n`],
  ["modprobe, unknown", [], "modprobe nosuch", 1, "modprobe: FATAL: Module nosuch not found in directory /lib/modules/6.1.0-37-amd64\n"],
];

describe.each([
  ["zfs", zfs],
  ["filesystems", filesystems],
])("%s answers as the real one", (_name, rows) => {
  it.each(rows)("%s", async (_what, setup, command, exitCode, stderr) => {
    for (const line of setup) await hosts.give.ok(...words(line));
    const result = await hosts.give.run(...words(command));
    expect({ exitCode: result.exitCode, stderr: result.stderr }).toEqual({ exitCode, stderr });
  });
});

describe("zfs answers, in longer words", () => {
  it.each<[string, string[], string, number, RegExp]>([
    ["a bad value", [z1], "zfs set compression=best tank/z1", 1, /^cannot set property for 'tank\/z1': 'compression' must be one of 'on \| off \| lzjb \| /],
    ["an unknown property", [z1], "zfs get -Hp nosuch tank/z1", 2, /^bad property list: invalid property 'nosuch'\nusage:/],
    ["a snapshot of nothing", [], "zfs snapshot tank/none@s", 2, /^cannot open 'tank\/none': dataset does not exist\nusage:/],
    ["a pool", [], "zfs destroy tank", 1, /^cannot destroy 'tank': operation does not apply to pools/],
    [
      "newer snapshots",
      [z1, "zfs snapshot tank/z1@s", "zfs snapshot tank/z1@t"],
      "zfs rollback tank/z1@s",
      1,
      /^cannot rollback to 'tank\/z1@s': more recent snapshots or bookmarks exist\nuse '-r' to force deletion/,
    ],
  ])("%s", async (_what, setup, command, exitCode, stderr) => {
    for (const line of setup) await hosts.give.ok(...words(line));
    const result = await hosts.give.run(...words(command));
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toMatch(stderr);
  });

  it("refuses to destroy an exported volume, and one that is mounted", async () => {
    await publish(hosts.give);
    expect(await hosts.give.run("zfs", "destroy", "tank/z1")).toMatchObject({
      exitCode: 1,
      stderr: "cannot destroy 'tank/z1': dataset is busy\n",
    });
    await hosts.give.ok("zfs", "create", "-V", "64M", "tank/z2");
    await hosts.give.ok("mkfs.ext4", "-q", "/dev/zvol/tank/z2");
    await hosts.give.ok("mount", "-o", "rw", "/dev/zvol/tank/z2", "/mnt");
    expect((await hosts.give.run("zfs", "destroy", "tank/z2")).stderr).toBe("cannot destroy 'tank/z2': dataset is busy\n");
  });
});

describe("iscsiadm answers as the real one", () => {
  const node = (...more: string[]): [string, ...string[]] => ["iscsiadm", "-m", "node", "-T", iqn, ...more];

  it.each<[string, [string, ...string[]], number, string]>([
    ["no sessions", ["iscsiadm", "-m", "session"], 21, "iscsiadm: No active sessions.\n"],
    ["no records", ["iscsiadm", "-m", "node"], 21, "iscsiadm: No records found\n"],
    ["login without a record", node("-p", "10.9.0.2:3260", "--login"), 21, "iscsiadm: No records found\n"],
    ["logout of nothing", node("--logout"), 21, "iscsiadm: No matching sessions found\n"],
    ["rescan of nothing", node("--rescan"), 21, "iscsiadm: No session found.\n"],
    [
      "rescan of an unknown session",
      ["iscsiadm", "-m", "session", "-r", "77", "--rescan"],
      22,
      "iscsiadm: could not read session targetname: 5\niscsiadm: Could not get session info for sid 77\n",
    ],
  ])("%s", async (_what, argv, exitCode, stderr) => {
    expect(await hosts.take.run(...argv)).toEqual({ exitCode, stdout: "", stderr });
  });

  const place = `[iface: default, target: ${iqn}, portal: 10.9.0.2,3260]`;

  it("a second login, and deletion of a record in use", async () => {
    await publish(hosts.give);
    await putRecord(hosts.take);
    expect((await login(hosts.take)).stdout).toBe(`Logging in to ${place}\nLogin to ${place} successful.\n`);
    expect(await login(hosts.take)).toMatchObject({
      exitCode: 15,
      stderr: "iscsiadm: default: 1 session requested, but 1 already present.\niscsiadm: Could not log into all portals\n",
    });
    const deleted = await hosts.take.run(...node("-p", "10.9.0.2:3260", "-o", "delete"));
    expect(deleted.exitCode).toBe(15);
    expect(deleted.stderr).toContain("Could not execute operation on all records: session exists");
  });

  it("no ACL", async () => {
    await publish(hosts.give, []);
    await putRecord(hosts.take);
    expect(await login(hosts.take)).toMatchObject({
      exitCode: 24,
      stderr: `iscsiadm: Could not login to ${place}.\niscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)\niscsiadm: Could not log into all portals\n`,
    });
  });

  it("a portal that nobody listens at, and an update of a setting there is none of", async () => {
    await putRecord(hosts.take);
    expect(await login(hosts.take)).toMatchObject({ exitCode: 8, stderr: expect.stringContaining("(8 - connection timed out)") as string });
    expect(await hosts.take.run(...node("-o", "update", "-n", "nosuch", "-v", "1"))).toMatchObject({
      exitCode: 7,
      stderr:
        "iscsiadm: Cannot modify nosuch. Invalid param name.\niscsiadm: Could not execute operation on all records: invalid parameter\n",
    });
  });
});

describe("what is not modelled", () => {
  it.each([
    ["a program", "targetcli ls"],
    ["a subcommand", "zfs send tank/z1@s"],
    ["a flag", "zfs destroy -R tank"],
    ["output for people", "zfs list tank"],
    ["a mode", "iscsiadm -m discovery -t st -p 10.9.0.2"],
    ["a mount option", "mount -o uid=0 /dev/zd0 /mnt"],
  ])("throws, whatever it is: %s", async (_what, line) => {
    await expect(hosts.give.run(...words(line))).rejects.toThrow(/does not model/);
  });

  it.each(["/opt/x", "/proc/cpuinfo", "/sys/firmware/acpi"])("throws on the path %s", async (path) => {
    await expect(hosts.give.files({ op: "read", path })).rejects.toThrow(/does not model/);
  });

  it("tells a program that is not installed from one that is not modelled", async () => {
    hosts.world.addMachine({ name: "bare", missingPrograms: ["iscsiadm"] });
    const run = hosts.world.executor("bare").run(["iscsiadm", "--version"], { signal: new AbortController().signal });
    await expect(run).rejects.toMatchObject({ reason: "precondition", outcome: "not_started" });
  });
});

describe("configfs refuses as the kernel", () => {
  const target = "/sys/kernel/config/target";
  const backstore = `${target}/core/iblock_0/${handle}`;
  const group = `${target}/iscsi/${iqn}/tpgt_1`;
  const write = (path: string, content: string) => ({ op: "write", path, content }) as const;

  it("has no target directory before the module is loaded", async () => {
    expect(await hosts.give.errno({ op: "list", path: target })).toBe("ENOENT");
    expect(await hosts.give.errno({ op: "mkdir", path: `${target}/iscsi` })).toBe("ENOENT");
  });

  it.each<[string, Parameters<Hosts["give"]["errno"]>[0], string]>([
    ["mkdir twice", { op: "mkdir", path: backstore }, "EEXIST"],
    ["mkdir of an unknown HBA", { op: "mkdir", path: `${target}/core/pscsi_0` }, "EINVAL"],
    ["mkdir of an odd portal group", { op: "mkdir", path: `${target}/iscsi/${iqn}/group` }, "EINVAL"],
    ["mkdir of an odd LUN", { op: "mkdir", path: `${group}/lun/zero` }, "EINVAL"],
    ["mkdir of an odd portal", { op: "mkdir", path: `${group}/np/give` }, "EINVAL"],
    ["mkdir among attributes", { op: "mkdir", path: `${group}/attrib/mine` }, "EPERM"],
    ["mkdir without a parent", { op: "mkdir", path: `${target}/core/iblock_9/x` }, "ENOENT"],
    ["creation of a file", { op: "write", path: `${group}/mine`, content: "", create: { mode: 0o644 } }, "EACCES"],
    ["write to an unknown attribute", write(`${group}/attrib/nosuch`, "1"), "ENOENT"],
    ["write of no number", write(`${group}/attrib/authentication`, "yes"), "EINVAL"],
    ["enabling a backstore twice", write(`${backstore}/enable`, "1"), "EEXIST"],
    ["a new serial while exported", write(`${backstore}/wwn/vpd_unit_serial`, "x"), "EINVAL"],
    ["reading a control file", { op: "read", path: `${backstore}/control` }, "EACCES"],
    ["rmdir of a linked backstore", { op: "rmdir", path: backstore }, "EBUSY"],
    ["rmdir of a mapped LUN's LUN", { op: "rmdir", path: `${group}/lun/lun_0` }, "EBUSY"],
    ["rmdir of a group with children", { op: "rmdir", path: group }, "ENOTEMPTY"],
    ["rmdir of an ACL with a mapped LUN", { op: "rmdir", path: `${group}/acls/${takeName}` }, "ENOTEMPTY"],
    ["rmdir of a mapped LUN with its link", { op: "rmdir", path: `${group}/acls/${takeName}/lun_0` }, "ENOTEMPTY"],
    ["rmdir of an automatic directory", { op: "rmdir", path: `${group}/acls` }, "EPERM"],
    ["a second link in a LUN", { op: "symlink", path: `${group}/lun/lun_0/again`, target: backstore }, "EEXIST"],
    ["a link to nothing", { op: "symlink", path: `${group}/lun/lun_0/x`, target: `${target}/core/iblock_0/none` }, "ENOENT"],
    ["a link where none belongs", { op: "symlink", path: `${group}/acls/x`, target: backstore }, "EPERM"],
    ["unlink of an attribute", { op: "unlink", path: `${group}/enable` }, "EPERM"],
  ])("%s", async (_what, operation, errno) => {
    await publish(hosts.give);
    const before = hosts.world.snapshot();
    expect(await hosts.give.errno(operation)).toBe(errno);
    expect(hosts.world.snapshot()).toEqual(before);
  });

  it("refuses LUNs and backstores in the wrong order", async () => {
    const { give } = hosts;
    await give.ok("modprobe", "target_core_mod");
    await give.ok("zfs", "create", "-V", "64M", "tank/z1");
    await give.files({ op: "mkdir", path: `${target}/core/iblock_0` }, { op: "mkdir", path: backstore });
    expect(await give.errno(write(`${backstore}/enable`, "1"))).toBe("EINVAL");
    expect(await give.errno(write(`${backstore}/control`, "udev_path=/dev/zvol/tank/none"), write(`${backstore}/enable`, "1"))).toBe("ENOENT");
    await give.files(
      { op: "mkdir", path: `${target}/iscsi` },
      { op: "mkdir", path: `${target}/iscsi/${iqn}` },
      { op: "mkdir", path: group },
      { op: "mkdir", path: `${group}/lun/lun_0` },
      { op: "mkdir", path: `${group}/acls/${takeName}` },
      { op: "mkdir", path: `${group}/acls/${takeName}/lun_0` },
    );
    expect(await give.errno({ op: "symlink", path: `${group}/lun/lun_0/x`, target: backstore })).toBe("ENODEV");
    const mapped = `${group}/acls/${takeName}/lun_0`;
    expect(await give.errno({ op: "symlink", path: `${mapped}/lun`, target: `${group}/lun/lun_0` })).toBe("EINVAL");
    await give.files(write(`${backstore}/control`, "udev_path=/dev/zvol/tank/z1"), write(`${backstore}/enable`, "1"));
    await give.files({ op: "symlink", path: `${group}/lun/lun_0/x`, target: backstore });
    await give.files({ op: "symlink", path: `${mapped}/lun`, target: `${group}/lun/lun_0` });
    await give.files({ op: "unlink", path: `${group}/lun/lun_0/x` });
    expect(await give.errno({ op: "rmdir", path: `${group}/lun/lun_0` })).toBe("EBUSY");
    const second = `${target}/core/iblock_0/second`;
    expect(
      await give.errno(
        { op: "mkdir", path: second },
        write(`${second}/control`, "udev_path=/dev/zvol/tank/z1"),
        write(`${second}/enable`, "1"),
      ),
    ).toBe("EBUSY");
  });

  it("gives secrets back in clear, links relative, and the serial with its heading", async () => {
    await publish(hosts.give, [takeName], { user: "user", password: "hunter2" });
    expect(await hosts.give.read(`${group}/acls/${takeName}/auth/password`)).toBe("hunter2\n");
    expect(await hosts.give.read(`${backstore}/wwn/vpd_unit_serial`)).toBe(`T10 VPD Unit Serial Number: ${handle}\n`);
    const [link, through] = await hosts.give.files(
      { op: "readlink", path: `${group}/lun/lun_0/${handle}` },
      { op: "read-glob", path: `${target}/iscsi/*/tpgt_1/lun/lun_0/*/udev_path` },
    );
    expect(link?.text).toBe(`../../../../../../target/core/iblock_0/${handle}`);
    expect(through?.files).toEqual([[`${group}/lun/lun_0/${handle}/udev_path`, "/dev/zvol/tank/z1\n"]]);
    expect(await hosts.give.read(`${group}/acls/${takeName}/info`)).toBe(
      `No active iSCSI Session for Initiator Endpoint: ${takeName}\n`,
    );
  });
});
