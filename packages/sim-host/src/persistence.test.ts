import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect, groupPath, openHosts, takeName, type Hosts } from "./testing/hosts.ts";
import { SimWorld } from "./world.ts";

let directory: string;
let file: string;
let hosts: Hosts;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "sim-host-"));
  file = join(directory, "world.jsonl");
  hosts = await openHosts({ file });
});
afterEach(async () => {
  await hosts.world.close();
  rmSync(directory, { recursive: true });
});

describe("the state file", () => {
  it("holds everything when a command has answered, without any closing", async () => {
    await connect(hosts.give, hosts.take);
    await hosts.take.ok("mkfs.ext4", "-q", "/dev/sda");
    await hosts.take.ok("mount", "-t", "ext4", "-o", "rw", "/dev/sda", "/mnt");
    await hosts.take.put("/mnt/f", "x");
    const again = await openHosts({ file });
    expect(again.world.snapshot()).toEqual(hosts.world.snapshot());
    expect(await again.take.read("/mnt/f")).toBe("x");
    expect(await again.give.read(`${groupPath()}/acls/${takeName}/info`)).toContain("LOGGED_IN");
    await again.world.close();
  });

  it("forgets a command whose line was torn, whole, and goes on after it", async () => {
    await hosts.give.ok("zfs", "create", "-V", "64M", "tank/z1");
    const before = hosts.world.snapshot();
    const length = statSync(file).size;
    await hosts.give.ok("zfs", "create", "-V", "64M", "tank/z2");
    const line = readFileSync(file).subarray(length);
    for (const kept of [1, line.length >> 1, line.length - 1]) {
      const torn = join(directory, `torn-${kept}.jsonl`);
      appendFileSync(torn, readFileSync(file).subarray(0, length + kept));
      const world = await SimWorld.open({ file: torn });
      expect(world.snapshot()).toEqual(before);
      const run = world.executor("give").run(["zfs", "create", "-V", "64M", "tank/z3"], { signal: new AbortController().signal });
      expect((await run).exitCode).toBe(0);
      const after = world.snapshot();
      await world.close();
      const again = await SimWorld.open({ file: torn });
      expect(again.snapshot()).toEqual(after);
      await again.close();
    }
  });

  it("refuses to open when a line before the last is damaged", async () => {
    appendFileSync(file, "garbage\n");
    await hosts.give.ok("zfs", "create", "-V", "64M", "tank/z1");
    await expect(SimWorld.open({ file })).rejects.toThrow(/damaged/);
  });

  it("keeps what happened before the failing operation of a batch", async () => {
    const batch = hosts.take.files(
      { op: "mkdir", path: "/mnt/a" },
      { op: "mkdir", path: "/mnt/a" },
      { op: "mkdir", path: "/mnt/b" },
    );
    await expect(batch).rejects.toMatchObject({ index: 1, errno: "EEXIST" });
    const again = await SimWorld.open({ file });
    const results = await again.executor("take").files([{ op: "list", path: "/mnt" }], { signal: new AbortController().signal });
    expect(results[0]?.entries).toEqual(["a"]);
    await again.close();
  });

  it("is compacted when it has outgrown the state, and says the same afterwards", async () => {
    const text = "x".repeat(100_000);
    for (let i = 0; i < 40; i += 1) await hosts.take.put("/mnt/f", `${i}${text}`);
    expect(statSync(file).size).toBeLessThan(1_500_000);
    const before = hosts.world.snapshot();
    await hosts.world.close();
    hosts = await openHosts({ file });
    expect(hosts.world.snapshot()).toEqual(before);
    expect((await hosts.take.read("/mnt/f")).startsWith("39x")).toBe(true);
  });

  it("adds nothing for a machine, pool or address that is there", () => {
    const length = statSync(file).size;
    hosts.world.addMachine({ name: "give", pools: [{ name: "tank", sizeBytes: 1n }], addresses: ["10.9.0.2"] });
    expect(statSync(file).size).toBe(length);
  });

  it("lets a machine become an initiator later", async () => {
    hosts.world.addMachine({ name: "give", initiatorName: "iqn.2026-01.net.example:give" });
    hosts.world.addMachine({ name: "give", initiatorName: "iqn.2026-01.net.example:other" });
    expect(await hosts.give.read("/etc/iscsi/initiatorname.iscsi")).toBe("InitiatorName=iqn.2026-01.net.example:give\n");
  });

  it("answers nothing more once it could not be written", async () => {
    await hosts.world.close();
    await expect(hosts.give.run("zfs", "version")).rejects.toThrow(/state file/);
    hosts = await openHosts();
  });
});
