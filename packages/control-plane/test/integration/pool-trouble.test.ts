import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// What the API says of pools and hosts that are not as they should be, and that all is well again once they are mended.

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const signal = new AbortController().signal;
const name = "volumes/one";

const run = async (host: string, ...argv: [string, ...string[]]): Promise<string> => {
  const { exitCode, stdout, stderr } = await service.plane.world.executor(host).run(argv, { signal });
  if (exitCode !== 0) throw new Error(stderr);
  return stdout;
};

const giveNow = (): unknown => (service.plane.world.snapshot() as Json)["give"];

interface Found {
  readonly differences: readonly string[];
  readonly condition: unknown;
}

/** What SyncVolume finds, as `REASON OUTCOME`, and the condition that it leaves. */
async function sync(): Promise<Found> {
  const answer = await service.call("VolumeService/SyncVolume", { name });
  const found = (answer["differences"] ?? []) as Record<string, string>[];
  return {
    differences: found.map(({ reason, outcome }) => `${reason} ${outcome?.replace("DIFFERENCE_OUTCOME_", "")}`),
    condition: ((answer["volume"] as Json)["condition"] as Json | undefined)?.["reason"],
  };
}

/** The same of all volumes: answers the condition of the host and of the volume, as they are shown afterwards. */
async function syncAll(host = "give"): Promise<{ readonly host: unknown; readonly volume: unknown }> {
  await service.call("VolumeService/SyncVolumes", {});
  const shown = async (method: string, key: string, of: string): Promise<unknown> =>
    (((await service.call(method, { name: of }))[key] as Json)["condition"] as Json | undefined)?.["reason"];
  return { host: await shown("HostService/GetHost", "host", `hosts/${host}`), volume: await shown("VolumeService/GetVolume", "volume", name) };
}

const well = { differences: [], condition: undefined };
const allWell = { host: undefined, volume: undefined };

describe("a pool that is not imported", () => {
  it("is told, keeps its volumes from being lost or made anew, and all is well when it is back", async () => {
    await service.volume("one", "initial");
    const before = giveNow();
    await run("give", "zpool", "export", "tank");
    expect(await sync()).toEqual({ differences: ["POOL_NOT_IMPORTED LEFT"], condition: "POOL_NOT_IMPORTED" });
    expect(await syncAll()).toEqual({ host: "POOL_NOT_IMPORTED", volume: "POOL_NOT_IMPORTED" });
    await expect(service.call("VolumeService/DeleteVolume", { name })).rejects.toThrow("unavailable");
    await expect(service.call("VolumeService/PublishVolume", { name })).rejects.toThrow(/unavailable|failed_precondition/);
    const volume = { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, mode: "VOLUME_MODE_BLOCK" };
    await expect(service.call("VolumeService/CreateVolume", { volumeId: "two", volume })).rejects.toThrow("unavailable");
    await run("give", "zpool", "import", "tank");
    expect(await sync()).toEqual(well);
    expect(await syncAll()).toEqual(allWell);
    expect(giveNow()).toEqual(before);
    await service.call("VolumeService/DeleteVolume", { name });
    expect(await run("give", "zfs", "list", "-Hp", "-o", "name", "-t", "volume")).toBe("");
  });

  it("cannot be exported while a volume is published", async () => {
    await service.volume("one", "mounted");
    await expect(run("give", "zpool", "export", "tank")).rejects.toThrow("cannot export 'tank': pool is busy");
    expect(await sync()).toEqual(well);
    expect(await syncAll()).toEqual(allWell);
  });

  it("after a reboot of its host keeps exports waiting until it is imported", async () => {
    await service.volume("one", "mounted");
    const before = giveNow();
    service.plane.world.powerCycle("give");
    await run("give", "zpool", "export", "tank");
    const found = await sync();
    expect(found.condition).toBe("POOL_NOT_IMPORTED");
    expect(found.differences).toEqual(expect.arrayContaining(["POOL_NOT_IMPORTED LEFT", "TARGET_MISSING LEFT"]));
    expect(await syncAll()).toEqual({ host: "POOL_NOT_IMPORTED", volume: "POOL_NOT_IMPORTED" });
    await run("give", "zpool", "import", "tank");
    expect((await sync()).differences).toContain("TARGET_MISSING REPAIRED");
    expect(await sync()).toEqual(well);
    expect(await syncAll()).toEqual(allWell);
    expect(giveNow()).toEqual(before);
  });
});

it("a pool whose I/O is suspended is told without waiting for it, and nothing is done there until it is cleared", async () => {
  await service.volume("one", "mounted");
  service.plane.world.setPoolHealth("give", "tank", "SUSPENDED");
  const began = performance.now();
  expect(await sync()).toEqual({ differences: ["POOL_SUSPENDED LEFT"], condition: "POOL_SUSPENDED" });
  expect(await syncAll()).toEqual({ host: "POOL_SUSPENDED", volume: "POOL_SUSPENDED" });
  expect(performance.now() - began).toBeLessThan(5_000);
  service.plane.world.setPoolHealth("give", "tank", "ONLINE");
  expect(await syncAll()).toEqual(allWell);
  expect(await sync()).toEqual(well);
});

it.each(["mount", "stage", "sync"])("a filesystem that stopped after an error is no answer to a pod; once nobody uses it %s mounts it anew", async (how) => {
  await service.volume("one", "mounted");
  // The next write finds the target gone: ext4 gives up.
  service.plane.world.powerCycle("give");
  await service.plane.world.executor("take").files([{ op: "write", path: "/srv/one/file", content: "x", create: { mode: 0o600 } }], { signal }).catch(() => undefined);
  const first = await sync();
  expect(first.differences).toContain("FILESYSTEM_READ_ONLY LEFT");
  expect(await sync()).toEqual({ differences: ["FILESYSTEM_READ_ONLY LEFT"], condition: "FILESYSTEM_READ_ONLY" });
  expect(await syncAll()).toEqual({ host: undefined, volume: "FILESYSTEM_READ_ONLY" });
  const at = { name, host: "hosts/take" };
  // No pod gets it as it is: neither again, nor at another path, nor staged.
  const inUse = "its filesystem stopped after an error and is in use at /srv/one";
  await expect(service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/two" })).rejects.toThrow(inUse);
  await expect(service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/one" })).rejects.toThrow("is FILESYSTEM_READ_ONLY");
  await expect(service.call("VolumeService/StageVolume", { ...at, stagingPath: "/mnt/one" })).rejects.toThrow("is FILESYSTEM_READ_ONLY");
  const unmounted = await service.call("VolumeService/UnmountVolume", { ...at, targetPath: "/srv/one" });
  expect(unmounted["volume"]).toMatchObject({ condition: { reason: "FILESYSTEM_READ_ONLY" } });
  if (how === "mount") await service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/one" });
  if (how === "stage") await service.call("VolumeService/StageVolume", { ...at, stagingPath: "/mnt/one" });
  if (how === "sync") expect((await sync()).differences).toEqual(["FILESYSTEM_READ_ONLY REPAIRED"]);
  await service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/one" });
  await service.plane.world.executor("take").files([{ op: "write", path: "/srv/one/file", content: "x", create: { mode: 0o600 } }], { signal });
  expect(await sync()).toEqual(well);
  expect(await syncAll()).toEqual(allWell);
});

it("a condition is over as soon as a call has ended what it was about, whatever becomes of other hosts", async () => {
  await service.volume("one", "connected", { mode: "VOLUME_MODE_BLOCK", filesystem: undefined });
  await service.call("VolumeService/ConnectVolume", { name, host: "hosts/other" });
  service.plane.world.powerCycle("take");
  const told = await service.call("VolumeService/SyncVolume", { name, reportOnly: true });
  expect(told["volume"]).toMatchObject({ condition: { reason: "SESSION_MISSING" } });
  service.plane.world.faults.add({ host: "other", match: {}, times: Number.POSITIVE_INFINITY, effect: { kind: "hang" } });
  const disconnect = { name, host: "hosts/take", force: true };
  const began = performance.now();
  expect((await service.call("VolumeService/DisconnectVolume", disconnect))["volume"]).toMatchObject({ condition: { reason: "SESSION_MISSING" } });
  expect(performance.now() - began).toBeLessThan(10_000);
  service.plane.world.faults.clear();
  const again = await service.call("VolumeService/DisconnectVolume", disconnect);
  expect(again["volume"]).not.toHaveProperty("condition");
});

describe("a host that answers nonsense", () => {
  const nonsense = (program: string, ...argvIncludes: readonly string[]): (() => void) =>
    service.plane.world.faults.add({
      host: "give",
      match: { program, argvIncludes },
      times: Number.POSITIVE_INFINITY,
      effect: { kind: "garbage", stdout: "Segmentation fa", exitCode: 0 },
    });

  it("is unreadable: nothing is concluded of its volumes", async () => {
    await service.volume("one", "published");
    const mend = nonsense("zpool", "list");
    const answer = await service.call("VolumeService/SyncVolume", { name }).catch(String);
    expect(JSON.stringify(answer)).toMatch(/HOST_UNREADABLE|Segmentation fa/);
    expect(await syncAll()).toEqual({ host: "HOST_UNREADABLE", volume: undefined });
    mend();
    expect(await sync()).toEqual(well);
    expect(await syncAll()).toEqual(allWell);
  });

  it("makes an operation fail with what it said, and is left as it was", async () => {
    await service.volume("one", "initial");
    const before = service.plane.world.snapshot();
    const mend = nonsense("zfs", "get");
    const volume = { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, mode: "VOLUME_MODE_BLOCK" };
    const failed = service.call("VolumeService/CreateVolume", { volumeId: "two", volume });
    await expect(failed).rejects.toThrow("Segmentation fa");
    mend();
    await service.call("VolumeService/DeleteVolume", { name: "volumes/two", allowMissing: true });
    expect((await service.get("/readyz")).text).toContain("open operations: 0");
    expect(service.plane.world.snapshot()).toEqual(before);
  });
});
