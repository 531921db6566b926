import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openHosts, type Hosts } from "./testing/hosts.ts";

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});
afterEach(async () => {
  await hosts.world.close();
});

const create = ["zfs", "create", "-V", "64M", "tank/z1"] as const;
const { signal } = new AbortController();
const exists = async (): Promise<boolean> => (await hosts.give.run("zfs", "list", "-Hp", "tank/z1")).exitCode === 0;

describe("faults in commands", () => {
  it("fail the n-th match, on the host named, and no other", async () => {
    const match = { program: "zfs", argvIncludes: ["list"] };
    hosts.world.faults.add({ host: "give", match, nth: 2, effect: { kind: "fail", exitCode: 3, stderr: "broken" } });
    const codes = [];
    for (let i = 0; i < 3; i += 1) codes.push((await hosts.give.run("zfs", "list", "-Hp")).exitCode);
    expect((await hosts.take.run("zfs", "list", "-Hp")).exitCode).toBe(0);
    expect(codes).toEqual([0, 3, 0]);
  });

  it.each([
    ["drop-before", false],
    ["drop-after", true],
  ] as const)("%s: the caller cannot tell, the world can", async (kind, happened) => {
    hosts.world.faults.add({ match: { program: "zfs" }, effect: { kind } });
    await expect(hosts.give.run(...create)).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
    expect(await exists()).toBe(happened);
  });

  it("hang until the limit, the signal or the executor's end", async () => {
    hosts.world.faults.add({ match: { program: "zfs" }, times: 3, effect: { kind: "hang" } });
    const { executor } = hosts.give;
    await expect(executor.run(create, { signal, timeoutMs: 5 })).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    const controller = new AbortController();
    const aborted = executor.run(create, { signal: controller.signal });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ reason: "aborted", outcome: "unknown" });
    const closed = executor.run(create, { signal });
    await executor.close();
    await expect(closed).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
    await expect(executor.run(create, { signal })).rejects.toMatchObject({ reason: "unavailable", outcome: "not_started" });
    hosts.world.faults.clear();
    expect((await hosts.world.executor("give").run(["zfs", "list", "-Hp", "tank/z1"], { signal })).exitCode).toBe(1);
  });

  it("answer garbage after acting", async () => {
    const remove = hosts.world.faults.add({
      match: { argvIncludes: ["tank/z1"] },
      times: Number.POSITIVE_INFINITY,
      effect: { kind: "garbage", stdout: "\u0000?", exitCode: 0 },
    });
    expect(await hosts.give.run(...create)).toEqual({ exitCode: 0, stdout: "\u0000?", stderr: "" });
    remove();
    expect(await exists()).toBe(true);
  });

  it("delay, but not past the limit", async () => {
    hosts.world.faults.add({ match: { program: "zfs" }, effect: { kind: "delay", ms: 60_000 } });
    await expect(hosts.give.executor.run(create, { signal, timeoutMs: 5 })).rejects.toMatchObject({ reason: "timeout" });
    expect(await exists()).toBe(false);
  });
});

describe("faults in file operations", () => {
  const batch = () =>
    hosts.take.files({ op: "mkdir", path: "/mnt/a" }, { op: "mkdir", path: "/mnt/b" }, { op: "mkdir", path: "/mnt/c" });
  const listed = async () => (await hosts.take.files({ op: "list", path: "/mnt" }))[0]?.entries;

  it.each([
    ["fail", { kind: "fail", errno: "E512" }, { errno: "E512", index: 1 }, ["a"]],
    ["drop-before", { kind: "drop-before" }, { reason: "unavailable", outcome: "unknown" }, ["a"]],
    ["drop-after", { kind: "drop-after" }, { reason: "unavailable", outcome: "unknown" }, ["a", "b", "c"]],
  ] as const)("%s at one of a batch", async (_kind, effect, error, left) => {
    hosts.world.faults.add({ match: { op: "mkdir", pathIncludes: "/b" }, effect });
    await expect(batch()).rejects.toMatchObject(error);
    expect(await listed()).toEqual(left);
  });

  it("count whole calls when they name nothing", async () => {
    hosts.world.faults.add({ host: "take", match: {}, nth: 3, effect: { kind: "drop-before" } });
    await batch();
    await hosts.take.ok("sync");
    await expect(listed()).rejects.toMatchObject({ reason: "unavailable" });
    expect(await listed()).toEqual(["a", "b", "c"]);
    expect(hosts.world.calls("take").count).toBe(4);
    expect(hosts.world.calls("take").latest[1]).toEqual({ argv: ["sync"] });
  });
});

describe("a machine that cannot be reached", () => {
  it("starts nothing", async () => {
    hosts.world.setOnline("give", false);
    await expect(hosts.give.run(...create)).rejects.toMatchObject({ reason: "unavailable", outcome: "not_started" });
    await expect(hosts.give.files({ op: "list", path: "/mnt" })).rejects.toMatchObject({ outcome: "not_started" });
    hosts.world.setOnline("give", true);
    expect(await exists()).toBe(false);
  });
});

describe("udev", () => {
  const link = { op: "readlink", path: "/dev/zvol/tank/z1" } as const;

  it("makes a link late: after a few looks, or once it has settled", async () => {
    hosts.world.setUdev("give", { missesBeforeLink: 2 });
    await hosts.give.ok(...create);
    expect(await hosts.give.errno(link)).toBe("ENOENT");
    expect(await hosts.give.errno(link)).toBe("ENOENT");
    expect((await hosts.give.files(link))[0]?.text).toBe("../../zd0");
    await hosts.give.ok("zfs", "create", "-V", "8M", "tank/z2");
    await hosts.give.ok("udevadm", "settle", "--timeout=5");
    expect((await hosts.give.files({ ...link, path: "/dev/zvol/tank/z2" }))[0]?.text).toBe("../../zd16");
  });

  it("loses a link for good, until the device is triggered", async () => {
    hosts.world.setUdev("give", { linksToLose: 1 });
    await hosts.give.ok(...create);
    await hosts.give.ok("udevadm", "settle", "--timeout=5");
    expect(await hosts.give.errno(link)).toBe("ENOENT");
    const [devices, data] = await hosts.give.files(
      { op: "read-glob", path: "/sys/block/zd*/dev" },
      { op: "read-glob", path: "/run/udev/data/b*" },
    );
    expect(devices?.files).toEqual([["/sys/block/zd0/dev", "230:0\n"]]);
    expect(data?.files?.[0]?.[1]).not.toContain("S:zvol");
    await hosts.give.ok("udevadm", "trigger", "--action=change", "/dev/zd0");
    expect((await hosts.give.files(link))[0]?.text).toBe("../../zd0");
  });
});
