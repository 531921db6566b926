import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GiB, MiB, openHosts, type Host } from "../testing/hosts.ts";

const pool = 1n * GiB;

async function numbers(give: Host, name: string, ...properties: string[]): Promise<bigint[]> {
  const text = await give.ok("zfs", "get", "-Hp", "-o", "value", properties.join(","), name);
  return text.trimEnd().split("\n").map(BigInt);
}

describe("space", () => {
  it("reserves a thick volume's size and the room its metadata may take", async () => {
    const { world, give } = await openHosts({}, 4n * GiB);
    await give.ok("zfs", "create", "-V", "1G", "tank/z1");
    // What ZFS 2.1 reserves for 1 GiB in 8 KiB blocks: "1.03G".
    expect(await numbers(give, "tank/z1", "refreservation", "used")).toEqual([1_109_393_408n, 1_109_393_408n]);
    await world.close();
  });

  it("rounds a size up at creation", async () => {
    const { world, give } = await openHosts();
    await give.ok("zfs", "create", "-V", "67108865", "tank/z1");
    expect(await numbers(give, "tank/z1", "volsize")).toEqual([67_117_056n]);
    await world.close();
  });

  it("moves data from reservation to dataset as it is written, and to the snapshot as it is replaced", async () => {
    const { world, give } = await openHosts();
    await give.ok("zfs", "create", "-V", "64M", "tank/z1");
    const [before = 0n] = await numbers(give, "tank/z1", "used");
    await give.files({ op: "write", path: "/dev/zd0", content: "x".repeat(65_536) });
    expect(await numbers(give, "tank/z1", "used", "usedbydataset")).toEqual([before, 65_536n + 12_288n]);
    await give.ok("zfs", "snapshot", "tank/z1@s");
    await give.files({ op: "write", path: "/dev/zd0", content: "y".repeat(8192) });
    expect(await numbers(give, "tank/z1", "usedbysnapshots", "referenced")).toEqual([8192n, 65_536n + 12_288n]);
    await give.ok("zfs", "clone", "tank/z1@s", "tank/c1");
    expect((await give.files({ op: "read", path: "/dev/zd16", maxBytes: 1 }))[0]?.text).toBe("x");
    expect(await numbers(give, "tank/c1", "used", "referenced")).toEqual([0n, 65_536n + 12_288n]);
    await give.files({ op: "write", path: "/dev/zd16", content: "z" });
    expect(await numbers(give, "tank/c1", "used", "referenced")).toEqual([8192n, 65_536n + 12_288n]);
    await give.ok("zfs", "destroy", "tank/c1");
    await give.ok("zfs", "rollback", "tank/z1@s");
    expect((await give.files({ op: "read", path: "/dev/zd0", maxBytes: 1 }))[0]?.text).toBe("x");
    await give.ok("zfs", "destroy", "tank/z1@s");
    expect(await numbers(give, "tank/z1", "used", "usedbysnapshots")).toEqual([before, 0n]);
    await world.close();
  });

  it("has no room for a snapshot that a thick volume could not be rewritten beside", async () => {
    const { world, give } = await openHosts({}, 100n * MiB);
    await give.ok("zfs", "create", "-V", "64M", "tank/z1");
    await give.files({ op: "write", path: "/dev/zd0", content: "x".repeat(1024 * 1024) });
    await give.ok("zfs", "snapshot", "tank/z1@s");
    const [free = 0n] = await numbers(give, "tank", "available");
    await give.ok("zfs", "create", "-V", String(free - 4n * MiB), "tank/z2");
    await give.files({ op: "write", path: "/dev/zd0", content: "y".repeat(8 * 1024 * 1024) });
    const before = world.snapshot();
    expect(await give.run("zfs", "snapshot", "tank/z1@t")).toMatchObject({
      exitCode: 1,
      stderr: "cannot create snapshot 'tank/z1@t': out of space\n",
    });
    expect(world.snapshot()).toEqual(before);
    await world.close();
  });

  it("is refused to the writer of a sparse volume when the pool is full", async () => {
    const { world, give } = await openHosts({}, 64n * MiB);
    await give.ok("zfs", "create", "-s", "-V", "1G", "tank/sparse");
    const [free = 0n] = await numbers(give, "tank", "available");
    await give.ok("zfs", "create", "-s", "-V", "8M", "-o", `refreservation=${free - 16_384n}`, "tank/thick");
    expect(await give.errno({ op: "write", path: "/dev/zd0", content: "x".repeat(8192) })).toBeUndefined();
    expect(await give.errno({ op: "write", path: "/dev/zd0", content: "x".repeat(65_536) })).toBe("ENOSPC");
    await world.close();
  });

  it("adds up and never goes below zero, whatever is done, and is all back in the end", async () => {
    const name = fc.constantFrom("a", "b", "c");
    const size = fc.integer({ min: 1, max: 600 });
    const step = fc.oneof(
      fc.record({ do: fc.constant("create" as const), name, size, sparse: fc.boolean() }),
      fc.record({ do: fc.constant("grow" as const), name, size }),
      fc.record({ do: fc.constant("write" as const), name, size }),
      fc.record({ do: fc.constant("snapshot" as const), name, size }),
      fc.record({ do: fc.constant("destroy" as const), name, size }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const { world, give } = await openHosts({}, pool);
        const empty = world.snapshot();
        await give.ok("zfs", "create", "-o", "mountpoint=none", "tank/v");
        for (const [index, action] of steps.entries()) {
          const dataset = `tank/v/${action.name}`;
          if (action.do === "create") {
            await give.run("zfs", "create", ...(action.sparse ? ["-s"] : []), "-V", `${action.size}M`, dataset);
          } else if (action.do === "grow") await give.run("zfs", "set", `volsize=${action.size}M`, dataset);
          else if (action.do === "snapshot") await give.run("zfs", "snapshot", `${dataset}@s${index}`);
          else if (action.do === "destroy") await give.run("zfs", "destroy", "-r", dataset);
          else {
            const path = `/dev/zvol/${dataset}`;
            await give.errno({ op: "write", path, content: "w".repeat(action.size * 512) });
          }
          await checkSums(give);
        }
        await give.ok("zfs", "destroy", "-r", "tank/v");
        expect(world.snapshot()).toEqual(empty);
        await world.close();
      }),
      { numRuns: 40 },
    );
  });

  it("adds up through clones, promotions, rollbacks and snapshots destroyed in any order", async () => {
    const volume = fc.constantFrom("a", "b", "c");
    const index = fc.nat({ max: 9 });
    const step = fc.oneof(
      fc.record({ do: fc.constant("write" as const), volume, index: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ do: fc.constantFrom("snapshot" as const, "rollback" as const, "forget" as const, "defer" as const), volume, index }),
      fc.record({ do: fc.constantFrom("clone" as const, "promote" as const, "destroy" as const), volume, index }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const { world, give } = await openHosts({}, pool);
        const empty = world.snapshot();
        await give.ok("zfs", "create", "-o", "mountpoint=none", "tank/v");
        await give.ok("zfs", "create", "-s", "-V", "64M", "tank/v/a");
        for (const [count, action] of steps.entries()) {
          const dataset = `tank/v/${action.volume}`;
          const snapshots = await snapshotNames(give, dataset);
          const picked = snapshots[action.index % Math.max(1, snapshots.length)] ?? `${dataset}@none`;
          if (action.do === "write") {
            const content = String.fromCharCode(97 + (count % 26)).repeat(action.index * 8192);
            await give.errno({ op: "write", path: `/dev/zvol/${dataset}`, content });
          } else if (action.do === "snapshot") await give.run("zfs", "snapshot", `${dataset}@s${count}`);
          else if (action.do === "rollback") await give.run("zfs", "rollback", "-r", picked);
          else if (action.do === "forget") await give.run("zfs", "destroy", picked);
          else if (action.do === "defer") await give.run("zfs", "destroy", "-d", picked);
          else if (action.do === "promote") await give.run("zfs", "promote", dataset);
          else if (action.do === "destroy") await give.run("zfs", "destroy", dataset);
          else await give.run("zfs", "clone", picked, `tank/v/${["a", "b", "c"][action.index % 3] ?? "a"}`);
          await checkSums(give);
        }
        await destroyAll(give);
        expect(world.snapshot()).toEqual(empty);
        await world.close();
      }),
      { numRuns: 60 },
    );
  });
});

async function checkSums(give: Host): Promise<void> {
  const names = (await give.ok("zfs", "list", "-Hp", "-r", "-o", "name", "tank")).trimEnd().split("\n");
  const parts = ["used", "available", "usedbydataset", "usedbysnapshots", "usedbyrefreservation", "usedbychildren"];
  const used = new Map<string, bigint>();
  const children = new Map<string, bigint>();
  for (const name of names) {
    const [total = 0n, free = 0n, ...split] = await numbers(give, name, ...parts);
    expect(split.reduce((sum, part) => sum + part, 0n)).toBe(total);
    for (const part of [total, free, ...split]) expect(part).toBeGreaterThanOrEqual(0n);
    used.set(name, total);
    const parent = name.slice(0, Math.max(name.lastIndexOf("/"), 0));
    children.set(parent, (children.get(parent) ?? 0n) + total);
    if (name === "tank") expect(total + free).toBe(pool);
  }
  for (const name of names) {
    const [own = 0n] = await numbers(give, name, "usedbychildren");
    expect(own).toBe(children.get(name) ?? 0n);
  }
}

async function snapshotNames(give: Host, dataset: string): Promise<string[]> {
  const { exitCode, stdout } = await give.run("zfs", "list", "-Hp", "-t", "snapshot", "-o", "name", dataset);
  return exitCode === 0 ? stdout.split("\n").filter((name) => name !== "") : [];
}

/** Whatever depends on what, something can always go next: a volume nobody cloned, a snapshot without clones. */
async function destroyAll(give: Host): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    const names = (await give.ok("zfs", "list", "-Hp", "-r", "-t", "all", "-o", "name", "tank/v")).trimEnd().split("\n").reverse();
    if (names.length === 1) break;
    for (const name of names) if (name !== "tank/v") await give.run("zfs", "destroy", name);
  }
  await give.ok("zfs", "destroy", "tank/v");
}
