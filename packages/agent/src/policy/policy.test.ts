import { CommandError, LocalExecutor, type Argv, type Executor, type FileOperation, type FileResult, type Sequence } from "@zfsilo/command";
import { createLogger } from "@zfsilo/lib";
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GuardedExecutor } from "./guarded-executor.ts";

const { signal } = new AbortController();

/** Does nothing, and tells what it was asked to do. On it no path is a link. */
class Recorder implements Executor {
  readonly host = "here";
  readonly ran: Argv[] = [];
  readonly performed: FileOperation[] = [];

  run(argv: Argv) {
    this.ran.push(argv);
    return Promise.resolve({ exitCode: 0, stdout: "", stderr: "" });
  }

  files(operations: readonly FileOperation[]): Promise<readonly FileResult[]> {
    this.performed.push(...operations);
    return Promise.resolve(operations.map(({ op }) => (op === "readlink" ? { errno: "EINVAL" } : {})));
  }

  sequence(commands: Sequence) {
    this.ran.push(...commands.map(({ argv }) => argv));
    return Promise.resolve(commands.map(() => ({ exitCode: 0, stdout: "", stderr: "" })));
  }

  pipe(producer: Argv, consumer: Argv) {
    this.ran.push(producer, consumer);
    return Promise.resolve({ producerExitCode: 0, consumerExitCode: 0, stdout: "", stderr: "" });
  }

  async *stream(producer: Argv, consumer: Argv): AsyncGenerator<Uint8Array> {
    await this.pipe(producer, consumer);
    yield Buffer.from("x");
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

let recorder: Recorder;
let lines: string;
let guard: GuardedExecutor;
beforeEach(() => {
  recorder = new Recorder();
  lines = "";
  const log = createLogger("debug", new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines += chunk.toString();
      done();
    },
  }));
  guard = new GuardedExecutor(recorder, { allowedRoots: ["/var/lib/kubelet", "/mnt"], log });
});

const uuid = "6f1b0a52-35a8-4d5c-9a1e-0c4d1e2f3a4b";
const iqn = "iqn.2026-01.io.zfsilo:0123456789abcdef";

function freezing(place: string): Argv {
  return [
    ...(["systemd-run", "--collect", "--unit=zfsilo-freeze-0123456789abcdef", "--property=Type=exec"] as const),
    ...[`--property=AssertPathIsMountPoint=${place}`, "--property=TimeoutStartSec=10", "--property=TimeoutStopSec=10"],
    ...[`--property=ExecStartPre=fsfreeze --freeze ${place}`, `--property=ExecStopPost=-fsfreeze --unfreeze ${place}`, "sleep", "10"],
  ];
}

/** One of each shape of packages/host/COMMANDS.md. */
const allowed: readonly Argv[] = [
  ["zfs", "version"],
  ["zpool", "list", "-Hp", "-o", "name,guid,size", "tank"],
  ["zpool", "status", "-p", "tank"],
  ["zfs", "get", "-Hp", "-o", "name,property,value,source", "type,guid,zfsilo:volume", "tank", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "get", "-Hp", "-d", "1", "-t", "volume", "-o", "name,property,value,source", "type,guid", "tank/zfsilo"],
  ["zfs", "create", "-o", "mountpoint=none", "-o", "canmount=off", "tank/zfsilo"],
  ["zfs", "create", "-s", "-V", "1073741824", "-o", "volblocksize=16384", "-o", "compression=zstd-3", "-o", "zfsilo:name=my volume", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "set", "volsize=2147483648", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "set", "compression=lz4", "zfsilo:formatted=yes", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "set", "quota=none", "tank/zfsilo"],
  ["zfs", "inherit", "-S", "zfsilo:volume", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "destroy", "tank/zfsilo/0123456789abcdef"],
  ["zfs", "destroy", "-d", "tank/zfsilo/0123456789abcdef@fedcba9876543210"],
  ["zfs", "snapshot", "-o", "zfsilo:snapshot=snap_a", "tank/a@s", "tank/b@s"],
  ["zfs", "clone", "-o", "zfsilo:volume=vol_a", "tank/a@s", "tank/c"],
  ["zfs", "hold", "zfsilo:k", "tank/a@s"],
  ["zfs", "send", "-i", "tank/a@s", "tank/a@t"],
  ["zstream", "dump", "-Cv"],
  ["udevadm", "settle", "--timeout=5"],
  ["udevadm", "trigger", "--action=change", "/dev/zd16", "/dev/zd32"],
  ["modprobe", "iscsi_target_mod"],
  ["iscsiadm", "--version"],
  ["iscsiadm", "-m", "node", "-T", iqn, "-p", "10.9.0.2:3260", "-I", "default", "--login"],
  ["iscsiadm", "-m", "node", "-T", iqn, "-p", "[fd00::1]:3260", "-I", "default", "--login"],
  ["iscsiadm", "-m", "node", "-T", iqn, "-I", "default", "--logout"],
  ["iscsiadm", "-m", "session", "-r", "3", "--rescan"],
  ["blkid", "-p", "-o", "export", "/dev/sdb"],
  ["cmp", "-n", "1048576", "/dev/sdb", "/dev/zero"],
  ["mkfs.ext4", "-q", "-U", uuid, "-E", "nodiscard,lazy_itable_init=1", "-m", "1", "/dev/sdb"],
  ["mkfs.ext4", "-q", "-U", uuid, "-E", "nodiscard,lazy_itable_init=1,resize=268435456", "-b", "4096", "-i", "16384", "-O", "^64bit,orphan_file", "/dev/sdb"],
  ["mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, "-b", "size=4096", "/dev/sdb"],
  ["mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, "-m", "bigtime=0", "-m", "inobtcount=0", "-i", "nrext64=0", "-m", "reflink=0", "/dev/sdb"],
  ["mkfs.ext4", "-V"],
  ["e2fsck", "-p", "/dev/sdb"],
  ["e2fsck", "-n", "/dev/sdb"],
  ["e2fsck", "-f", "-n", "/dev/sdb"],
  ["xfs_db", "-r", "-c", "sb 0", "-c", "print inprogress", "/dev/sdb"],
  ["dd", "if=/dev/zero", "of=/dev/zvol/tank/zfsilo/a", "bs=1048576", "count=1", "conv=nocreat,fsync"],
  ["xfs_repair", "-n", "/dev/sdb"],
  ["resize2fs", "/dev/sdb"],
  ["xfs_growfs", "/mnt/a"],
  ["xfs_info", "/dev/sdb"],
  ["dumpe2fs", "-h", "/dev/sdb"],
  ["stat", "-f", "-c", "%S/%b/%f/%a/%c/%d", "/mnt/a"],
  ["mount", "-t", "ext4", "-o", "rw,noatime,errors=remount-ro", "/dev/sdb", "/mnt/a"],
  ["mount", "--bind", "/mnt/a", "/var/lib/kubelet/pods/b/volumes/c/mount"],
  ["mount", "--bind", "/dev/sdb", "/var/lib/kubelet/d"],
  ["mount", "-o", "remount,bind,ro", "/mnt/b"],
  ["umount", "/mnt/a"],
  ["date", "+%s.%N"],
  ["zfs", "create", "-V", "1048576", "-o", "encryption=aes-256-gcm", "-o", "keyformat=hex", "-o", "keylocation=prompt", "tank/a"],
  ["zfs", "load-key", "-n", "tank/a"],
  ["fsfreeze", "--unfreeze", "/mnt/a"],
  ["systemctl", "stop", "zfsilo-freeze-0123456789abcdef.service"],
  freezing("/mnt/a"),
  ["perl", "-v"],
];

const forbidden: readonly Argv[] = [
  freezing("/"),
  freezing("/etc"),
  freezing("/mnt/a /etc"),
  ["systemd-run", "id"],
  ["systemctl", "stop", "sshd.service"],
  ["sh", "-c", "id"],
  ["bash"],
  ["/usr/sbin/zfs", "version"],
  ["__proto__", "x"],
  ["perl", "-e", "system 'id'"],
  ["zfs", "destroy", "-r", "tank"],
  ["zfs", "destroy", "-R", "tank/a@s"],
  ["zfs", "destroy", "-f", "tank/a"],
  ["zfs", "set", "mountpoint=/etc", "tank/a"],
  ["zfs", "inherit", "-S", "mountpoint", "tank/a"],
  ["zfs", "inherit", "-r", "-S", "zfsilo:volume", "tank/a"],
  ["zfs", "inherit", "zfsilo:volume", "tank/a"],
  ["zfs", "set", "sharenfs=on", "tank/a"],
  ["zfs", "create", "-o", "mountpoint=/root", "tank/a"],
  ["zfs", "mount", "tank/a"],
  ["zfs", "rename", "tank/a", "tank/b"],
  ["zfs", "inherit", "zfsilo:volume", "tank/a"],
  ["zfs", "rollback", "-r", "tank/a@s"],
  ["zfs", "receive", "-F", "tank/a"],
  ["zfs", "send", "-R", "tank/a@s"],
  ["zfs", "diff", "tank/a@s"],
  ["tune2fs", "-U", uuid, "/dev/sdb"],
  ["xfs_admin", "-U", "generate", "/dev/sdb"],
  ["fsfreeze", "--freeze", "/mnt/a"],
  ["zfs", "allow", "nobody", "destroy", "tank"],
  ["zstream", "dump", "-Cv", "/etc/shadow"],
  ["zstream", "dump", "-Cv", "-d"],
  ["zstream", "dump"],
  ["zstream", "redup", "/etc/shadow"],
  ["zpool", "destroy", "tank"],
  ["zpool", "import", "-f", "tank"],
  ["iscsiadm", "-m", "node", "-T", "../../x", "-p", "10.9.0.2:3260", "--login"],
  ["iscsiadm", "-m", "node", "-o", "update", "-n", "x", "-v", "y"],
  ["modprobe", "evil"],
  ["modprobe", "-r", "zfs"],
  ["modprobe", "-C", "/tmp/x", "zfs"],
  ["mkfs.ext4", "-F", "-q", "-U", uuid, "/dev/sdb"],
  ["mkfs.ext4", "-q", "-U", uuid, "/etc/passwd"],
  ["mkfs.ext4", "-q", "-U", uuid, "-E", "discard", "/dev/sdb"],
  ["mkfs.ext4", "-q", "-U", uuid, "-O", "^has_journal", "/dev/sdb"],
  ["mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid},crc=0`, "/dev/sdb"],
  ["mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, "-m", "crc=0", "/dev/sdb"],
  ["mkfs.ext4", "-q", "-U", uuid, "/dev/../etc/passwd"],
  ["mkfs.xfs", "-f", "-q", "-m", `uuid=${uuid}`, "/dev/sdb"],
  ["e2fsck", "-f", "-y", "/dev/sdb"],
  ["xfs_db", "-x", "-c", "sb 0", "/dev/sdb"],
  ["xfs_db", "-r", "-c", "source /etc/shadow", "/dev/sdb"],
  ["dd", "if=/dev/zero", "of=/dev/sdb", "bs=1048576", "count=1", "conv=nocreat,fsync"],
  ["dd", "if=/dev/zero", "of=/dev/zvol/../sdb", "bs=1048576", "count=1", "conv=nocreat,fsync"],
  ["dd", "if=/dev/zero", "of=/dev/zvol/tank/a", "bs=1048576", "count=2", "conv=nocreat,fsync"],
  ["dd", "if=/dev/urandom", "of=/dev/zvol/tank/a", "bs=1048576", "count=1", "conv=nocreat,fsync"],
  ["mount", "-t", "ext4", "-o", "rw", "/dev/sdb", "/etc"],
  ["mount", "-t", "ext4", "-o", "rw", "/dev/sdb", "/mnt"],
  ["mount", "-t", "ext4", "-o", "rw", "/dev/sdb", "/mnt/../etc"],
  ["mount", "-t", "ext4", "-o", "rw", "/dev/sdb", "/mntx/a"],
  ["mount", "-t", "overlay", "-o", "rw", "x", "/mnt/a"],
  ["mount", "-t", "ext4", "-o", "rw,upperdir=/etc", "/dev/sdb", "/mnt/a"],
  ["mount", "--bind", "/etc", "/mnt/a"],
  ["mount", "--bind", "/mnt/a", "/usr/bin"],
  ["mount", "-a"],
  ["umount", "-l", "/mnt/a"],
  ["umount", "/"],
  ["umount", "/sys"],
  ["stat", "/etc/shadow"],
  ["cmp", "-n", "1", "/etc/shadow", "/dev/zero"],
  ["fsfreeze", "-f", "/"],
  ["date", "-s", "1970-01-01"],
];

describe("commands", () => {
  it.each(allowed.map((argv) => [argv.join(" "), argv] as const))("%s runs", async (_name, argv) => {
    await guard.run(argv, { signal });
    expect(recorder.ran).toEqual([argv]);
  });

  it.each(forbidden.map((argv) => [argv.join(" "), argv] as const))("%s is refused and logged, and does not run", async (_name, argv) => {
    const refused = guard.run(argv, { signal });
    await expect(refused).rejects.toBeInstanceOf(CommandError);
    await expect(refused).rejects.toMatchObject({ reason: "permission_denied", outcome: "not_started" });
    expect(recorder.ran).toEqual([]);
    expect(lines).toContain("refused what the control plane asked for");
  });

  it("run in pipes when both are allowed", async () => {
    const send: Argv = ["zfs", "send", "tank/a@s"];
    const dump: Argv = ["zstream", "dump", "-Cv"];
    await guard.pipe(send, ["zfs", "receive", "tank/b"], { signal });
    for await (const piece of guard.stream(send, dump, { signal })) expect(piece).toHaveLength(1);
    expect(recorder.ran).toEqual([send, ["zfs", "receive", "tank/b"], send, dump]);
  });

  it("run in a sequence when all are allowed, else none does", async () => {
    const set: Argv = ["zfs", "set", "volsize=1048576", "tank/a"];
    const get: Argv = ["zfs", "get", "-Hp", "-o", "value", "volsize", "tank/a"];
    await guard.sequence([{ argv: get, gate: { equals: "524288\n" } }, { argv: set }], { signal });
    expect(recorder.ran).toEqual([get, set]);
    const smuggled = guard.sequence([{ argv: get }, { argv: set }, { argv: ["zfs", "destroy", "-r", "tank/a"] }], { signal });
    await expect(smuggled).rejects.toMatchObject({ reason: "permission_denied", outcome: "not_started" });
    expect(recorder.ran).toEqual([get, set]);
  });

  it.each([
    [["zfs", "send", "tank/a@s"], ["tee", "/etc/passwd"]],
    [["cat", "/etc/shadow"], ["zstream", "dump", "-Cv"]],
  ] satisfies [Argv, Argv][])("do not run in pipes when one is not: %j into %j", async (producer, consumer) => {
    await expect(guard.pipe(producer, consumer, { signal })).rejects.toMatchObject({ reason: "permission_denied" });
    await expect(guard.stream(producer, consumer, { signal })[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: "permission_denied" });
    expect(recorder.ran).toEqual([]);
  });
});

const target = "/sys/kernel/config/target";

describe("file operations", () => {
  it.each<[string, FileOperation]>([
    ["an object of the target", { op: "mkdir", path: `${target}/iscsi/${iqn}` }],
    ["an attribute of the target", { op: "write", path: `${target}/core/iblock_0/a/enable`, content: "1" }],
    ["a link within the target", { op: "symlink", path: `${target}/iscsi/${iqn}/tpgt_1/lun/lun_0/a`, target: `${target}/core/iblock_0/a` }],
    ["a walk of the target", { op: "read-glob", path: `${target}/iscsi/*/tpgt_1/acls/*/info` }],
    ["a session record", { op: "write", path: `/etc/iscsi/nodes/${iqn}/10.9.0.2,3260,1/default`, content: "x", secret: true, create: { mode: 0o600 } }],
    ["the initiator's name", { op: "read", path: "/etc/iscsi/initiatorname.iscsi" }],
    ["sessions", { op: "read-glob", path: "/sys/class/iscsi_session/session*/device/target*/*/block/*/size" }],
    ["a disk's size", { op: "read", path: "/sys/class/block/sdb/size" }],
    ["a rescan", { op: "write", path: "/sys/class/block/sdb/device/rescan", content: "1" }],
    ["mounts", { op: "read", path: "/proc/self/mountinfo", maxBytes: 16 << 20 }],
    ["what is stacked on a disk", { op: "read-glob", path: "/sys/class/block/sda/holders/*/dm/name" }],
    ["swap", { op: "read", path: "/proc/swaps", tolerate: ["ENOENT"] }],
    ["the kernel's release", { op: "read", path: "/proc/sys/kernel/osrelease" }],
    ["what LVM leaves alone", { op: "read", path: "/etc/lvm/devices/system.devices", tolerate: ["ENOENT"] }],
    ["what multipathd leaves alone", { op: "read-glob", path: "/etc/multipath/conf.d/*.conf" }],
    ["what targetcli saved", { op: "read", path: "/etc/rtslib-fb-target/saveconfig.json", tolerate: ["ENOENT"] }],
    ["the site's udev rules", { op: "read-glob", path: "/etc/udev/rules.d/*.rules" }],
    ["a machine's identity", { op: "read", path: "/etc/machine-id" }],
    ["listening sockets", { op: "read", path: "/proc/net/tcp6", maxBytes: 16 << 20 }],
    ["modules", { op: "list", path: "/sys/module" }],
    ["a link of udev", { op: "readlink", path: "/dev/zvol/tank/zfsilo/a" }],
    ["a mount point", { op: "mkdir", path: "/mnt/a/b", mode: 0o750 }],
    ["a directory above a root", { op: "mkdir", path: "/var/lib" }],
    ["an empty file for a device", { op: "write", path: "/mnt/a/device", content: "", create: { mode: 0o600 } }],
    ["whether a file is empty", { op: "read", path: "/mnt/a/device", maxBytes: 1 }],
    ["removal of a mount point", { op: "rmdir", path: "/mnt/a" }],
  ])("%s is allowed", async (_name, operation) => {
    await guard.files([operation], { signal });
    expect(recorder.performed).toContain(operation);
  });

  it.each<[string, FileOperation]>([
    ["reading a password file", { op: "read", path: "/etc/shadow" }],
    ["writing a program", { op: "write", path: "/usr/local/bin/x", content: "x", create: { mode: 0o755 } }],
    ["leaving the target by dots", { op: "read", path: `${target}/../../../../etc/shadow` }],
    ["leaving a root by dots", { op: "mkdir", path: "/mnt/../etc/x" }],
    ["a doubled slash", { op: "mkdir", path: "/mnt//a" }],
    ["a link out of the target", { op: "symlink", path: `${target}/iscsi/x`, target: "/etc" }],
    ["a link among the records", { op: "symlink", path: "/etc/iscsi/nodes/x", target: "/etc" }],
    ["a link below a root", { op: "symlink", path: "/mnt/a", target: "/etc" }],
    ["the content of a pod's file", { op: "read", path: "/var/lib/kubelet/pods/a/token", maxBytes: 4096 }],
    ["a pod's file without a limit", { op: "read", path: "/var/lib/kubelet/pods/a/token" }],
    ["the names of a pod's files", { op: "list", path: "/var/lib/kubelet/pods" }],
    ["a file with content below a root", { op: "write", path: "/mnt/a", content: "x", create: { mode: 0o600 } }],
    ["another attribute of a disk", { op: "write", path: "/sys/class/block/sdb/device/delete", content: "1" }],
    ["the kernel's settings", { op: "write", path: "/proc/sys/kernel/core_pattern", content: "|/bin/sh" }],
    ["what a process has open", { op: "readlink", path: "/proc/1/root" }],
    ["another process's environment", { op: "read-glob", path: "/proc/*/environ" }],
    ["a session's password", { op: "read-glob", path: "/sys/class/iscsi_session/session*/password" }],
    ["a session's other password", { op: "read", path: "/sys/class/iscsi_session/session1/password_in" }],
    ["a pattern in a write", { op: "write", path: "/sys/class/block/*/device/rescan", content: "1" }],
    ["removing a root", { op: "rmdir", path: "/mnt" }],
  ])("%s is refused, with the whole batch", async (_name, operation) => {
    const batch = guard.files([{ op: "mkdir", path: `${target}/iscsi` }, operation], { signal });
    await expect(batch).rejects.toMatchObject({ reason: "permission_denied", outcome: "not_started" });
    expect(recorder.performed.filter(({ op }) => op !== "readlink")).toEqual([]);
    expect(lines).toContain("refused what the control plane asked for");
  });
});

describe("symbolic links and content, on a real file system", () => {
  let directory: string;
  let real: GuardedExecutor;
  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), "zfsilo-policy-")));
    await mkdir(`${directory}/root`);
    await mkdir(`${directory}/outside`);
    await writeFile(`${directory}/outside/file`, "precious");
    await writeFile(`${directory}/root/full`, "precious");
    await symlink(`${directory}/outside`, `${directory}/root/escape`);
    await symlink("../outside/file", `${directory}/root/leaf`);
    await symlink(`${directory}/root`, `${directory}/alias`);
    real = new GuardedExecutor(new LocalExecutor("here"), { allowedRoots: [`${directory}/root`, `${directory}/alias`], log: createLogger("silent") });
  });
  afterEach(() => rm(directory, { recursive: true }));

  it.each<[string, (root: string) => FileOperation]>([
    ["a directory made through a link", (root) => ({ op: "mkdir", path: `${root}/escape/x` })],
    ["a directory removed through a link", (root) => ({ op: "rmdir", path: `${root}/escape/x` })],
    ["a file read through a link", (root) => ({ op: "read", path: `${root}/leaf`, maxBytes: 1 })],
    ["a file emptied through a link", (root) => ({ op: "write", path: `${root}/leaf`, content: "", create: { mode: 0o600 } })],
    ["a file emptied", (root) => ({ op: "write", path: `${root}/full`, content: "", create: { mode: 0o600 } })],
    ["a file removed", (root) => ({ op: "unlink", path: `${root}/full` })],
  ])("refuses %s", async (_name, operation) => {
    await expect(real.files([operation(`${directory}/root`)], { signal })).rejects.toMatchObject({ reason: "permission_denied" });
    expect(await readFile(`${directory}/outside/file`, "utf8")).toBe("precious");
    expect(await readFile(`${directory}/root/full`, "utf8")).toBe("precious");
  });

  it("refuses to mount through a link", async () => {
    await expect(real.run(["mount", "-t", "ext4", "-o", "rw", "/dev/loop0", `${directory}/root/escape`], { signal })).rejects.toMatchObject({
      reason: "permission_denied",
    });
  });

  it("follows a link that is a root itself", async () => {
    await real.files([{ op: "mkdir", path: `${directory}/alias/a` }, { op: "rmdir", path: `${directory}/alias/a` }], { signal });
  });
});
