import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connect,
  fenceOperations,
  groupPath,
  iqn,
  login,
  logout,
  MiB,
  openHosts,
  publish,
  putRecord,
  removeOperations,
  takeName,
  tapName,
  type Hosts,
} from "./testing/hosts.ts";

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});
afterEach(async () => {
  await hosts.world.close();
});

const uuid = "3e1b2c4d-5f60-4718-8293-a4b5c6d7e8f9";

describe("the life of a volume", () => {
  it("leaves the world as it was", async () => {
    const { world, give, take } = hosts;
    const before = world.snapshot();
    await connect(give, take);
    expect((await take.run("blkid", "-p", "-o", "export", "/dev/sda")).exitCode).toBe(2);
    expect((await take.run("cmp", "-n", "1048576", "/dev/sda", "/dev/zero")).exitCode).toBe(0);
    await take.ok("mkfs.ext4", "-q", "-U", uuid, "-E", "nodiscard,lazy_itable_init=1", "/dev/sda");
    expect(await take.ok("blkid", "-p", "-o", "export", "/dev/sda")).toContain(`UUID=${uuid}\n`);
    await take.mkdir("/mnt/a");
    await take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt/a");
    await take.put("/mnt/a/hello", "world");
    expect(await take.read("/proc/self/mountinfo")).toContain(" 8:0 / /mnt/a rw,relatime shared:100 - ext4 /dev/sda rw\n");

    await give.ok("zfs", "set", `volsize=${128n * MiB}`, "tank/z1");
    expect(await take.read("/sys/class/block/sda/size")).toBe("131072\n");
    await take.files({ op: "write", path: "/sys/class/block/sda/device/rescan", content: "1" });
    expect(await take.read("/sys/class/block/sda/size")).toBe("262144\n");
    expect(await take.ok("resize2fs", "/dev/sda")).toContain("is now 131072 (1k) blocks long");

    await take.ok("umount", "/mnt/a");
    expect((await logout(take)).exitCode).toBe(0);
    expect((await login(take)).exitCode).toBe(0);
    await take.ok("mount", "-t", "ext4", "-o", "ro", "/dev/sda", "/mnt/a");
    expect(await take.read("/mnt/a/hello")).toBe("world");
    await take.ok("umount", "/mnt/a");

    await take.ok("iscsiadm", "-m", "node", "-T", iqn, "-I", "default", "--logout");
    const record = `/etc/iscsi/nodes/${iqn}`;
    await take.files(
      { op: "rmdir", path: "/mnt/a" },
      { op: "unlink", path: `${record}/10.9.0.2,3260,1/default` },
      { op: "rmdir", path: `${record}/10.9.0.2,3260,1` },
      { op: "rmdir", path: record },
    );
    await give.files(...fenceOperations(takeName), ...removeOperations());
    await give.ok("zfs", "destroy", "tank/z1");
    expect(world.snapshot()).toEqual(before);
  });

  it("shows raw content written on one initiator on another, through a bind-mounted node", async () => {
    const { give, take, tap } = hosts;
    await publish(give, [takeName, tapName]);
    for (const host of [take, tap]) {
      await putRecord(host);
      expect((await login(host)).exitCode).toBe(0);
    }
    await take.put("/mnt/block", "");
    await take.ok("mount", "--bind", "/dev/sda", "/mnt/block");
    await take.files({ op: "write", path: "/mnt/block", content: "raw bytes" });
    expect(await take.read("/proc/self/mountinfo")).toContain("/sda /mnt/block rw,nosuid,relatime shared:100 - devtmpfs udev rw");
    const [read] = await tap.files({ op: "read", path: "/dev/sda", maxBytes: 12 });
    expect(read?.text).toBe("raw bytes\0\0\0");
    await take.ok("umount", "/mnt/block");
    expect(await take.read("/mnt/block")).toBe("");
  });

  it("shows a session from both ends", async () => {
    const { give, take } = hosts;
    await connect(give, take);
    const results = await take.files(
      { op: "read-glob", path: "/sys/class/iscsi_session/session*/targetname" },
      { op: "read-glob", path: "/sys/class/iscsi_session/session*/device/target*/*/block/*/size" },
      { op: "read-glob", path: "/sys/class/iscsi_session/session*/device/target*/*/vpd_pg80" },
      { op: "read-glob", path: "/sys/class/iscsi_connection/connection*/persistent_address" },
    );
    expect(results.map((result) => result.files)).toEqual([
      [["/sys/class/iscsi_session/session1/targetname", `${iqn}\n`]],
      [["/sys/class/iscsi_session/session1/device/target2:0:0/2:0:0:0/block/sda/size", "131072\n"]],
      [["/sys/class/iscsi_session/session1/device/target2:0:0/2:0:0:0/vpd_pg80", "\0\ufffd\0\u00110123456789abcdef\0"]],
      [["/sys/class/iscsi_connection/connection1:0/persistent_address", "10.9.0.2\n"]],
    ]);
    expect(await give.read(`${groupPath()}/acls/${takeName}/info`)).toContain("Session State: TARG_SESS_STATE_LOGGED_IN");
    expect(await take.ok("iscsiadm", "-m", "session")).toBe(`tcp: [1] 10.9.0.2:3260,1 ${iqn} (non-flash)\n`);
  });
});
