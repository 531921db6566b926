import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aclOperations,
  connect,
  exportOperations,
  fenceOperations,
  groupPath,
  handle,
  iqn,
  login,
  logout,
  MiB,
  openHosts,
  portal,
  publish,
  putRecord,
  takeName,
  tapName,
  type Chap,
  type Host,
  type Hosts,
} from "../testing/hosts.ts";

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});
afterEach(async () => {
  await hosts.world.close();
});

const sessionState = async (host: Host): Promise<string> => await host.read("/sys/class/iscsi_session/session1/state");
const acl = `${groupPath()}/acls/${takeName}`;

describe("login", () => {
  const right: Chap = { user: "user", password: "secret", targetUser: "target", targetPassword: "proof" };

  it.each<[string, Chap | undefined, Chap | undefined, number]>([
    ["the right secrets, both ways", right, right, 0],
    ["the right secret, one way", right, { user: "user", password: "secret" }, 0],
    ["a wrong password", right, { ...right, password: "guess" }, 24],
    ["a wrong user", right, { ...right, user: "other" }, 24],
    ["a user that LIO reads as a number", { ...right, user: "0b12" }, { ...right, user: "0b12" }, 24],
    ["no credentials where they are required", right, undefined, 24],
    ["a target that proves itself wrongly", right, { ...right, targetPassword: "other" }, 19],
    ["a target that cannot prove itself", { user: "user", password: "secret" }, right, 19],
    ["no credentials where none are required", undefined, undefined, 0],
  ])("with %s", async (_what, atTarget, atInitiator, exitCode) => {
    await publish(hosts.give, [takeName], atTarget);
    await putRecord(hosts.take, atInitiator);
    expect((await login(hosts.take)).exitCode).toBe(exitCode);
    expect(await hosts.give.read(`${acl}/info`)).toContain(exitCode === 0 ? "LOGGED_IN" : "No active iSCSI Session");
  });

  it("refuses a password that was written with a newline, as LIO keeps it", async () => {
    await publish(hosts.give, [takeName], { user: "user", password: "secret\n" });
    await putRecord(hosts.take, { user: "user", password: "secret" });
    expect((await login(hosts.take)).exitCode).toBe(24);
  });

  it.each<[string, () => unknown]>([
    ["the machine is off", () => { hosts.world.setOnline("give", false); }],
    ["the network is cut", () => { hosts.world.cut("give", "take"); }],
    ["no portal listens", () => hosts.give.files({ op: "rmdir", path: `${groupPath()}/np/${portal}` })],
  ])("cannot connect when %s", async (_what, breakIt) => {
    await publish(hosts.give);
    await putRecord(hosts.take);
    await breakIt();
    expect((await login(hosts.take)).exitCode).toBe(8);
  });

  it("hangs until the caller's limit when the portal group is disabled", async () => {
    await publish(hosts.give);
    await putRecord(hosts.take);
    await hosts.give.files({ op: "write", path: `${groupPath()}/enable`, content: "0" });
    const argv = ["iscsiadm", "-m", "node", "-T", iqn, "-p", portal, "--login"] as const;
    const run = hosts.take.executor.run(argv, { signal: new AbortController().signal, timeoutMs: 20 });
    await expect(run).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
  });

  it.each([iqn, "iqn.2026-01.net.example:none"])("to a target that is not served ends with its record's limits: %s", async (name) => {
    await publish(hosts.give);
    await hosts.give.files({ op: "write", path: `${groupPath()}/enable`, content: "0" });
    const limits = { "node.session.initial_login_retry_max": "2", "node.conn[0].timeo.login_timeout": "10" };
    await putRecord(hosts.take, undefined, limits, name);
    expect((await hosts.take.run("iscsiadm", "-m", "node", "-T", name, "-p", portal, "--login")).exitCode).toBe(8);
  });

  it("goes under the name of the interface that the record belongs to", async () => {
    const second = "iqn.2026-01.net.example:take-second";
    await publish(hosts.give, [takeName, second]);
    await putRecord(hosts.take);
    await putRecord(hosts.take, undefined, { "iface.iscsi_ifacename": "second", "iface.initiatorname": second });
    expect((await login(hosts.take)).exitCode).toBe(0);
    const run = await hosts.take.run("iscsiadm", "-m", "node", "-T", iqn, "-p", portal, "-I", "second", "--login");
    expect(run.exitCode).toBe(0);
    expect(await hosts.take.read("/sys/class/iscsi_session/session2/initiatorname")).toBe(`${second}\n`);
    expect(await hosts.give.read(`${groupPath()}/acls/${second}/info`)).toContain("LOGGED_IN");
  });
});

describe("a fence", () => {
  it("gives the writer EIO at once and refuses its return", async () => {
    const { give, take } = hosts;
    await connect(give, take);
    await take.ok("mkfs.ext4", "-q", "/dev/sda");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    await take.put("/mnt/before", "1");
    await give.files(...fenceOperations(takeName));
    expect(await take.errno({ op: "write", path: "/mnt/after", content: "2", create: { mode: 0o600 } })).toBe("EIO");
    expect(await sessionState(take)).toBe("FAILED\n");
    expect(await take.read("/sys/class/block/sda/device/state")).toBe("transport-offline\n");
    await take.ok("umount", "/mnt");
    expect((await logout(take)).exitCode).toBe(0);
    expect((await login(take)).exitCode).toBe(24);
  });

  it("is none when only the portal group is disabled and enabled again: the writer comes back", async () => {
    const { give, take } = hosts;
    await connect(give, take);
    await give.files({ op: "write", path: `${groupPath()}/enable`, content: "0" });
    expect(await sessionState(take)).toBe("FAILED\n");
    await give.files({ op: "write", path: `${groupPath()}/enable`, content: "1" });
    expect(await sessionState(take)).toBe("LOGGED_IN\n");
    await take.files({ op: "write", path: "/dev/sda", content: "the old writer" });
  });

  it("that keeps the session leaves LIO's null device at LUN 0: zeros, then errors", async () => {
    const { give, take } = hosts;
    await connect(give, take);
    await take.files({ op: "write", path: "/dev/sda", content: "data" });
    await give.files({ op: "unlink", path: `${acl}/lun_0/lun` });
    expect(await sessionState(take)).toBe("LOGGED_IN\n");
    expect((await take.files({ op: "read", path: "/dev/sda", maxBytes: 4 }))[0]?.text).toBe("\0\0\0\0");
    expect((await take.run("cmp", "-n", "32768", "/dev/sda", "/dev/zero")).exitCode).toBe(0);
    expect(await take.run("cmp", "-n", "1048576", "/dev/sda", "/dev/zero")).toMatchObject({
      exitCode: 2,
      stderr: "cmp: /dev/sda: Input/output error\n",
    });
    expect((await take.run("blkid", "-p", "-o", "export", "/dev/sda")).exitCode).toBe(2);
    expect(await take.errno({ op: "write", path: "/dev/sda", content: "x" })).toBe("EIO");
  });

  it("leaves a second initiator of the volume alone", async () => {
    const { give, take, tap } = hosts;
    await publish(give, [takeName, tapName]);
    for (const host of [take, tap]) {
      await putRecord(host);
      await login(host);
    }
    await give.files(...fenceOperations(takeName));
    expect(await sessionState(take)).toBe("FAILED\n");
    expect(await sessionState(tap)).toBe("LOGGED_IN\n");
  });

  it("by a changed secret spares a running session and refuses its next login", async () => {
    const { give, take } = hosts;
    const chap = { user: "user", password: "old" };
    await publish(give, [takeName], chap);
    await putRecord(take, chap);
    await login(take);
    await give.files({ op: "write", path: `${acl}/auth/password`, content: "new" });
    expect(await sessionState(take)).toBe("LOGGED_IN\n");
    await logout(take);
    expect((await login(take)).exitCode).toBe(24);
  });
});

describe("losing the way to a disk", () => {
  it("breaks a mount under which the session is logged out, for good", async () => {
    const { give, take } = hosts;
    await connect(give, take);
    await take.ok("mkfs.ext4", "-q", "/dev/sda");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    await take.put("/mnt/file", "kept");
    expect((await logout(take)).exitCode).toBe(0);
    expect(await take.errno({ op: "read", path: "/mnt/file" })).toBe("EIO");
    expect((await take.run("stat", "-f", "-c", "%b", "/mnt")).stderr).toContain("Input/output error");
    // The dead disk keeps its name as long as the mount holds it.
    await login(take);
    expect(await take.read("/sys/class/iscsi_session/session2/device/target3:0:0/3:0:0:0/block/sdb/size")).toBe("131072\n");
    expect(await take.errno({ op: "read", path: "/mnt/file" })).toBe("EIO");
    await take.ok("umount", "/mnt");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sdb", "/mnt");
    expect(await take.read("/mnt/file")).toBe("kept");
  });

  it("fails the session while the network is cut; ext4 stays read-only when it comes back", async () => {
    const { world, give, take } = hosts;
    await connect(give, take);
    await take.ok("mkfs.ext4", "-q", "/dev/sda");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    world.cut("give", "take");
    const write = { op: "write", path: "/mnt/x", content: "x", create: { mode: 0o600 } } as const;
    expect(await take.errno(write)).toBe("EIO");
    expect(await sessionState(take)).toBe("FAILED\n");
    expect(await give.read(`${acl}/info`)).toContain("No active iSCSI Session");
    world.cut("give", "take", false);
    expect(await sessionState(take)).toBe("LOGGED_IN\n");
    expect(await give.read(`${acl}/info`)).toContain("LOGGED_IN");
    expect(await take.errno(write)).toBe("EROFS");
    await take.ok("umount", "/mnt");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    expect(await take.errno(write)).toBeUndefined();
  });

  it("by a power cut at the target: exports gone, data kept, the session back after a new export", async () => {
    const { world, give, take } = hosts;
    await connect(give, take);
    await take.files({ op: "write", path: "/dev/sda", content: "data" });
    world.powerCycle("give");
    expect(await give.errno({ op: "list", path: "/sys/kernel/config/target" })).toBe("ENOENT");
    expect(await sessionState(take)).toBe("FAILED\n");
    expect(await take.errno({ op: "read", path: "/dev/sda" })).toBe("EIO");
    await give.ok("modprobe", "target_core_mod");
    await give.files(...exportOperations("tank/z1"), ...aclOperations(takeName));
    expect(await sessionState(take)).toBe("LOGGED_IN\n");
    expect((await take.files({ op: "read", path: "/dev/sda", maxBytes: 4 }))[0]?.text).toBe("data");
  });

  it("by a power cut at the initiator: sessions and mounts gone, records and files kept, the filesystem unclean", async () => {
    const { world, give, take } = hosts;
    await connect(give, take);
    await take.ok("mkfs.ext4", "-q", "/dev/sda");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    await take.put("/mnt/file", "kept");
    world.powerCycle("take");
    expect((await take.run("iscsiadm", "-m", "session")).exitCode).toBe(21);
    expect(await give.read(`${acl}/info`)).toContain("No active iSCSI Session");
    expect(await take.read("/proc/self/mountinfo")).not.toContain("/mnt");
    expect((await login(take)).exitCode).toBe(0);
    expect((await take.run("resize2fs", "/dev/sda")).stderr).toContain("Please run 'e2fsck -f /dev/sda' first.");
    expect(await take.ok("e2fsck", "-p", "/dev/sda")).toContain("recovering journal");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    expect(await take.read("/mnt/file")).toBe("kept");
  });
});

describe("a grown volume", () => {
  it.each<[string, (host: Host) => Promise<unknown>]>([
    ["a rescan of the session", (host) => host.ok("iscsiadm", "-m", "session", "-r", "1", "--rescan")],
    ["a rescan of the disk", (host) => host.files({ op: "write", path: "/sys/block/sda/device/rescan", content: "1" })],
  ])("is seen by the initiator after %s", async (_what, rescan) => {
    const { give, take } = hosts;
    await connect(give, take);
    await give.ok("zfs", "set", `volsize=${96n * MiB}`, "tank/z1");
    expect(await give.read("/sys/block/zd0/size")).toBe("196608\n");
    expect(await take.read("/sys/block/sda/size")).toBe("131072\n");
    await rescan(take);
    expect(await take.read("/sys/block/sda/size")).toBe("196608\n");
  });
});

it("serves two targets at one portal to one initiator, each disk with its serial", async () => {
  const { give, take } = hosts;
  await connect(give, take);
  const other = `${iqn}2`;
  await give.ok("zfs", "create", "-V", "64M", "tank/z2");
  await give.files(...exportOperations("tank/z2", `${handle}2`, other), ...aclOperations(takeName, undefined, other));
  await putRecord(take, undefined, {}, other);
  expect((await login(take, other)).exitCode).toBe(0);
  const [pages] = await take.files({ op: "read-glob", path: "/sys/block/*/device/vpd_pg80" });
  expect(pages?.files?.map(([path, page]) => [path, page.slice(4, -1)])).toEqual([
    ["/sys/block/sda/device/vpd_pg80", handle],
    ["/sys/block/sdb/device/vpd_pg80", `${handle}2`],
  ]);
});
