import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService | undefined;
afterEach(async () => {
  await service?.[Symbol.asyncDispose]();
  service = undefined;
});

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  const began = performance.now();
  while (!(await what())) {
    if (performance.now() - began > 15_000) throw new Error("it did not happen");
    await sleep(100);
  }
}

const picture = (running: RunningService): Json => {
  const { give, take } = running.plane.world.snapshot() as Json;
  return { give, take };
};
const same = (a: Json, b: Json): boolean => JSON.stringify(a) === JSON.stringify(b);

describe("by itself, the control plane", () => {
  it("repairs by the clock", async () => {
    const running = (service = await runningService({ reconcile: { intervalSeconds: 1 } }));
    await running.volume("one", "mounted");
    const before = picture(running);
    running.plane.world.powerCycle("give");
    await until(() => same(picture(running), before));
    await until(async () => (await running.get("/metrics")).text.includes('zfsilo_reconcile_repairs_total{action="restore-export",outcome="done"} 1'));
    expect((await running.get("/metrics")).text).toMatch(/zfsilo_reconcile_cycle_seconds_count\{outcome="ok"\} [1-9]/);
  });

  it("repairs soon after its start", async () => {
    const running = (service = await runningService({ reconcile: { intervalSeconds: 3600 } }));
    await running.volume("one", "mounted");
    const before = picture(running);
    running.plane.world.powerCycle("give");
    running.plane.world.powerCycle("take");
    await running.restart();
    await until(() => same(picture(running), before));
  });

  it("repairs a host as soon as it is back, long before the clock says so", async () => {
    const running = (service = await runningService({ reconcile: { intervalSeconds: 3600 } }));
    await running.volume("one", "mounted");
    const before = picture(running);
    running.plane.world.setOnline("take", false);
    await running.call("VolumeService/SyncVolumes", {});
    expect((await running.get("/metrics")).text).toContain('zfsilo_hosts_abnormal{reason="HOST_UNREACHABLE"} 1');
    running.plane.world.powerCycle("take");
    running.plane.world.setOnline("take", true);
    await until(() => same(picture(running), before));
  });

  it("asks each host the same few things with 10 volumes and with 1,000, and writes nothing when all is well", { timeout: 300_000 }, async () => {
    const running = (service = await runningService());
    const { world } = running.plane;
    const cost = async (): Promise<readonly number[]> => {
      const before = ["give", "take"].map((host) => world.calls(host).count);
      await running.call("VolumeService/SyncVolumes", {});
      return ["give", "take"].map((host, index) => world.calls(host).count - (before[index] ?? 0));
    };
    const more = async (from: number, to: number): Promise<void> => {
      for (let first = from; first < to; first += 30) {
        const some = Array.from({ length: Math.min(30, to - first) }, (_, index) => first + index);
        await Promise.all(some.map((index) => running.volume(`vol${index}`, index % 100 === 0 ? "mounted" : "initial")));
      }
    };
    await running.volume("published", "published");
    await more(0, 9);
    await cost();
    const withTen = await cost();
    await more(9, 999);
    await cost();
    const volumes = await running.call("VolumeService/ListVolumes", {});
    // When a host was last seen is known from what was asked of it, and kept nowhere.
    const recorded = async (): Promise<unknown> =>
      ((await running.call("HostService/ListHosts", {}))["hosts"] as Json[]).map(({ lastSeenTime: _seen, ...host }) => host);
    const hosts = await recorded();
    const operations = await running.call("OperationService/ListOperations", {});
    expect(await cost()).toEqual(withTen);
    expect(await running.call("VolumeService/ListVolumes", {})).toEqual(volumes);
    expect(await recorded()).toEqual(hosts);
    expect(await running.call("OperationService/ListOperations", {})).toEqual(operations);
  });
});

describe("readiness", () => {
  it("tells of the database and of operations", async () => {
    const running = (service = await runningService());
    expect(await running.get("/readyz")).toEqual({
      status: 200,
      text: "ok\ndatabase: writable\nlog: writable\nopen operations: 0\nstuck operations: 0\n",
    });
  });

  it("counts operations that are stuck", async () => {
    const running = (service = await runningService());
    await running.volume("one", "published");
    running.plane.world.faults.add({ host: "give", match: { pathIncludes: "/acls/" }, times: Infinity, effect: { kind: "fail", errno: "EIO" } });
    await expect(running.call("VolumeService/ConnectVolume", { name: "volumes/one", host: "hosts/take" })).rejects.toThrow("could not be undone yet");
    expect((await running.get("/readyz")).text).toContain("stuck operations: 1");
    running.plane.world.faults.clear();
  });
});

describe("the command", () => {
  const main = (dataDir: string): Promise<{ stderr: string }> =>
    promisify(execFile)("node", ["--conditions=development", "--import", "tsx", "packages/control-plane/src/main.ts"], {
      env: { ...process.env, ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_LOG_LEVEL: "silent" },
      timeout: 40_000,
    });

  const directory = async (): Promise<string> => {
    const path = await mkdtemp(join(tmpdir(), "zfsilo-command-"));
    onTestFinished(() => rm(path, { recursive: true }));
    return path;
  };

  it("refuses a database that is in use, and names its user", async () => {
    const running = (service = await runningService());
    await expect(main(running.dataDir)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`another control plane runs on this database: process ${process.pid} on .*\n.*ZFSILO_WAIT_FOR_LEASE`)) as string,
    });
    expect((await running.get("/readyz")).status).toBe(200);
  });

  it("refuses a damaged database", async () => {
    const path = await directory();
    await chmod(path, 0o700);
    await writeFile(join(path, "zfsilo.db"), "no database ".repeat(500));
    await expect(main(path)).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/open the database[\s\S]*Restore it|restore the file/) as string });
  });
});
