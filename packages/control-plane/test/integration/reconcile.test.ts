import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const signal = new AbortController().signal;

/** Machines that are first looked at appear in the picture only then. */
const picture = (): Json => {
  const { give, take } = service.plane.world.snapshot() as { give: Json; take: Json & { mounts: { at: string }[] } };
  // Volumes are repaired side by side: whose mounts come first is chance.
  return { give, take: { ...take, mounts: [...take.mounts].sort((a, b) => (a.at < b.at ? -1 : 1)) } };
};

interface Found {
  readonly reason: string;
  readonly outcome: string;
  readonly action: string;
  readonly explanation: string;
}

async function sync(id: string, more: object = {}): Promise<{ volume: Json; differences: Found[]; repaired: number; left: number }> {
  const answer = await service.call("VolumeService/SyncVolume", { name: `volumes/${id}`, ...more });
  return {
    volume: answer["volume"] as Json,
    differences: ((answer["differences"] ?? []) as Partial<Found>[]).map(({ reason = "", outcome = "", action = "", explanation = "" }) => ({
      reason,
      outcome: outcome.replace("DIFFERENCE_OUTCOME_", ""),
      action,
      explanation,
    })),
    repaired: Number(answer["repaired"] ?? 0),
    left: Number(answer["left"] ?? 0),
  };
}

const syncAll = (more: object = {}): Promise<Json> => service.call("VolumeService/SyncVolumes", more);

const run = async (host: string, ...argv: [string, ...string[]]): Promise<void> => {
  const { exitCode, stderr } = await service.plane.world.executor(host).run(argv, { signal });
  if (exitCode !== 0) throw new Error(stderr);
};

describe("after a power cut", () => {
  it("of the target host, its exports come back and what is mounted lives on", async () => {
    await service.volume("one", "mounted");
    const before = picture();
    service.plane.world.powerCycle("give");
    const { differences, repaired, left, volume } = await sync("one");
    expect(differences).toContainEqual({ reason: "TARGET_MISSING", outcome: "REPAIRED", action: "restore-export", explanation: "" });
    expect({ repaired, left }).toEqual({ repaired: differences.length, left: 0 });
    expect(volume["condition"]).toBeUndefined();
    expect(picture()).toEqual(before);
  });

  it("of the initiator, session and mounts come back, read-only where they were", async () => {
    await service.volume("one", "mounted");
    await service.call("VolumeService/MountVolume", { name: "volumes/one", host: "hosts/take", targetPath: "/srv/ro", readOnly: true });
    const before = picture();
    service.plane.world.powerCycle("take");
    const { differences, left } = await sync("one");
    expect(left).toBe(0);
    expect(differences.map(({ reason }) => reason)).toEqual([
      "SESSION_MISSING",
      "STAGING_MOUNT_MISSING",
      "TARGET_MOUNT_MISSING",
      "TARGET_MOUNT_MISSING",
    ]);
    expect(picture()).toEqual(before);
    expect((await sync("one")).differences).toEqual([]);
  });

  it("of both, many volumes come back in one call; raw block too", async () => {
    await service.volume("one", "mounted");
    await service.volume("two", "mounted", { mode: "VOLUME_MODE_BLOCK", filesystem: undefined });
    await service.volume("three", "published");
    await service.volume("four", "initial");
    const before = picture();
    service.plane.world.powerCycle("give");
    service.plane.world.powerCycle("take");
    expect(await syncAll()).toMatchObject({ checked: "4", repaired: "8" });
    expect(picture()).toEqual(before);
    expect(await syncAll()).toEqual({ checked: "4" });
  });

  it.each([
    ["PublishVolume", {}],
    ["ConnectVolume", { host: "hosts/take" }],
    ["StageVolume", { host: "hosts/take", stagingPath: "/mnt/one" }],
    ["MountVolume", { host: "hosts/take", targetPath: "/srv/one" }],
  ])("%s asked for again brings back what it stands for", async (method, more) => {
    await service.volume("one", "mounted");
    service.plane.world.powerCycle("give");
    service.plane.world.powerCycle("take");
    expect((await service.call(`VolumeService/${method}`, { name: "volumes/one", ...more }))["operation"]).toMatch(/^operations\//);
    expect((await service.call(`VolumeService/${method}`, { name: "volumes/one", ...more }))["operation"]).toBeUndefined();
    await sync("one");
    expect((await sync("one")).differences).toEqual([]);
  });
});

describe("a piece that is gone", () => {
  it("is only reported when asked so", async () => {
    await service.volume("one", "connected");
    service.plane.world.powerCycle("give");
    const before = picture();
    const { differences, volume } = await sync("one", { reportOnly: true });
    expect(differences[0]).toEqual({ reason: "TARGET_MISSING", outcome: "REPORTED", action: "restore-export", explanation: "" });
    expect(volume["condition"]).toMatchObject({ abnormal: true, reason: "TARGET_MISSING" });
    expect(picture()).toEqual(before);
  });

  it.each([
    ["a mount at the target path", ["umount", "/srv/one"]],
    ["the backing of an unfinished growth", ["zfs", "set", `volsize=${96 << 20}`]],
  ] as const)("is mended: %s", async (what, argv) => {
    const handle = await service.volume("one", "mounted");
    const target = argv[0] === "zfs";
    await run(target ? "give" : "take", ...(target ? [...argv, `tank/zfsilo/${handle}`] : argv) as [string, ...string[]]);
    const { differences, left, volume } = await sync("one");
    expect(left, JSON.stringify(differences)).toBe(0);
    expect(differences.length, what).toBeGreaterThan(0);
    if (target) expect(volume["capacityBytes"]).toBe(`${96 << 20}`);
    expect((await sync("one")).differences).toEqual([]);
  });

  it("is never made anew when it is the zvol", async () => {
    const handle = await service.volume("one", "published");
    await service.call("VolumeService/UnpublishVolume", { name: "volumes/one" });
    await run("give", "zfs", "destroy", `tank/zfsilo/${handle}`);
    const { differences, volume } = await sync("one");
    expect(differences).toMatchObject([{ reason: "ZVOL_MISSING", outcome: "LEFT", action: "" }]);
    expect(differences[0]?.explanation).toContain("never made anew");
    expect(volume["condition"]).toMatchObject({ abnormal: true, reason: "ZVOL_MISSING" });
  });

  it("keeps an export from being built over a zvol that is not the one recorded", async () => {
    const handle = await service.volume("one", "published");
    service.plane.world.powerCycle("give");
    await run("give", "zfs", "destroy", `tank/zfsilo/${handle}`);
    await run("give", "zfs", "create", "-s", "-V", `${64 << 20}`, `tank/zfsilo/${handle}`);
    const { differences } = await sync("one");
    expect(differences).toMatchObject([
      { reason: "FOREIGN_ZVOL", outcome: "LEFT" },
      { reason: "TARGET_MISSING", outcome: "LEFT", explanation: "waits until FOREIGN_ZVOL at hosts/give is mended" },
    ]);
  });
});

describe("a host that is away", () => {
  it("says nothing of its volumes, and has a condition until it answers", async () => {
    await service.volume("one", "mounted");
    service.plane.world.setOnline("give", false);
    expect(await syncAll()).toMatchObject({ unreachableHosts: ["hosts/give"] });
    expect((await service.call("HostService/GetHost", { name: "hosts/give" }))["host"]).toMatchObject({
      condition: { abnormal: true, reason: "HOST_UNREACHABLE" },
    });
    expect((await service.call("VolumeService/GetVolume", { name: "volumes/one" }))["volume"]).not.toHaveProperty("condition");
    service.plane.world.setOnline("give", true);
    expect(await syncAll()).not.toHaveProperty("unreachableHosts");
    expect((await service.call("HostService/GetHost", { name: "hosts/give" }))["host"]).not.toHaveProperty("condition");
  });
});

describe("a fence", () => {
  it("lets the volume move while its initiator is dead, and the initiator is cleaned up when it returns", async () => {
    const handle = await service.volume("one", "mounted");
    const first = await service.call("VolumeService/GetVolume", { name: "volumes/one" });
    service.plane.world.setOnline("take", false);
    await service.call("VolumeService/DisconnectVolume", { name: "volumes/one", host: "hosts/take", force: true });
    await service.call("VolumeService/ConnectVolume", { name: "volumes/one", host: "hosts/other" });
    const moved = await service.call("VolumeService/StageVolume", { name: "volumes/one", host: "hosts/other", stagingPath: "/mnt/one" });
    const generation = (answer: Json): number => Number(((answer["volume"] as Json)["attachments"] as Json[])[0]?.["generation"]);
    expect(generation(moved)).toBeGreaterThan(generation(first));

    service.plane.world.setOnline("take", true);
    const answer = await syncAll();
    expect(answer).toMatchObject({
      volumes: [{ differences: [{ host: "hosts/take", reason: "SESSION_STALE", outcome: "DIFFERENCE_OUTCOME_REPAIRED", action: "clean-initiator" }] }],
    });
    const take = (service.plane.world.snapshot() as Record<string, Record<string, unknown>>)["take"];
    expect(take?.["sessions"]).toEqual([]);
    expect(take?.["mounts"]).toMatchObject([{ at: "/" }]);
    expect(JSON.stringify(take?.["files"])).not.toContain(handle);
    expect((await sync("one")).differences).toEqual([]);
  });

  it("leaves nothing of an old session that the same initiator could take up again", async () => {
    await service.volume("one", "mounted", { authentication: "AUTHENTICATION_NONE" });
    await service.call("VolumeService/DisconnectVolume", { name: "volumes/one", host: "hosts/take", force: true });
    await service.call("VolumeService/ConnectVolume", { name: "volumes/one", host: "hosts/take" });
    const take = (service.plane.world.snapshot() as Record<string, Record<string, unknown>>)["take"];
    expect(take?.["mounts"]).toMatchObject([{ at: "/" }]);
    expect(take?.["sessions"]).toHaveLength(1);
    expect((await sync("one")).differences).toEqual([]);
  });

  it("also shuts out an initiator that nobody recorded", async () => {
    const handle = await service.volume("one", "mounted");
    const acl = `/sys/kernel/config/target/iscsi/iqn.2026-01.io.zfsilo:${handle}/tpgt_1/acls/iqn.2026-01.io.zfsilo.sim:stranger`;
    await service.plane.world.executor("give").files([{ op: "mkdir", path: acl }], { signal });
    const { differences } = await sync("one");
    expect(differences).toMatchObject([{ reason: "INITIATOR_UNEXPECTED", outcome: "REPAIRED", action: "shut-out" }]);
    expect((await sync("one")).differences).toEqual([]);
  });
});
