import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// A database that is put back from a backup knows less than the hosts: nobody is fenced and nothing is mounted by it.

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
  // Machines are in the picture once they were looked at.
  await syncAll();
});
afterEach(() => service[Symbol.asyncDispose]());

const database = (): string => join(service.dataDir, "zfsilo.db");
const backup = (): string => join(service.dataDir, "copy.db");
const name = (id: string): string => `volumes/${id}`;
const volumes = (method: string, id: string, more: object = {}): Promise<Json> => service.call(`VolumeService/${method}`, { name: name(id), ...more });
const machines = (): Json => service.plane.world.snapshot() as Json;
const syncAll = (): Promise<Json> => service.call("VolumeService/SyncVolumes", {});

/** Stops in between: a copy of the file alone is whole only then. */
async function backUp(): Promise<void> {
  await service.restart(() => copyFile(database(), backup()));
}

async function putBack(): Promise<void> {
  await service.restart(async () => {
    await copyFile(backup(), database());
    for (const end of ["-wal", "-shm"]) await rm(`${database()}${end}`, { force: true });
  });
}

async function move(id: string): Promise<void> {
  await volumes("UnmountVolume", id, { host: "hosts/take", targetPath: `/srv/${id}` });
  await volumes("UnstageVolume", id, { host: "hosts/take" });
  await volumes("DisconnectVolume", id, { host: "hosts/take" });
  await volumes("ConnectVolume", id, { host: "hosts/other" });
  await volumes("StageVolume", id, { host: "hosts/other", stagingPath: `/mnt/${id}` });
  await volumes("MountVolume", id, { host: "hosts/other", targetPath: `/srv/${id}` });
}

async function takeDown(id: string, host = "hosts/take"): Promise<void> {
  await volumes("UnmountVolume", id, { host, targetPath: `/srv/${id}` });
  await volumes("UnstageVolume", id, { host });
  await volumes("DisconnectVolume", id, { host });
  await volumes("UnpublishVolume", id);
}

const conditionOf = async (id: string): Promise<unknown> => ((await volumes("GetVolume", id))["volume"] as { condition?: Json }).condition?.["reason"];
const outdated = /failed_precondition: .*the database is older/;

describe("an older database", () => {
  it("disturbs no live writer, mounts nothing, and lets a person decide volume by volume", async () => {
    await service.volume("a", "mounted");
    await service.volume("c", "initial");
    await service.volume("quiet", "mounted");
    await backUp();
    await move("a");
    await volumes("DeleteVolume", "c");
    await service.volume("b", "mounted");
    const before = machines();
    await putBack();

    await syncAll();
    await syncAll();
    expect(machines()).toEqual(before);
    expect(await conditionOf("a")).toBe("RECORD_OUTDATED");
    expect(await conditionOf("c")).toBe("ZVOL_MISSING");
    expect(await conditionOf("quiet")).toBeUndefined();
    const orphans = (await service.call("OrphanService/ListOrphans", {}))["orphans"] as { kind: string }[];
    expect(orphans.map(({ kind }) => kind)).toContain("ORPHAN_KIND_DATASET");

    await expect(volumes("ConnectVolume", "a", { host: "hosts/take" })).rejects.toThrow(outdated);
    await expect(volumes("StageVolume", "a", { host: "hosts/take", stagingPath: "/mnt/a" })).rejects.toThrow(outdated);
    await expect(volumes("DisconnectVolume", "a", { host: "hosts/take" })).rejects.toThrow(outdated);
    await expect(volumes("SyncVolume", "a", { reportOnly: true, accept: "ACCEPTANCE_RECORD" })).rejects.toThrow(/accept/);
    expect(machines()).toEqual(before);

    await volumes("SyncVolume", "a", { accept: "ACCEPTANCE_RECORD" });
    await syncAll();
    expect(await conditionOf("a")).toBeUndefined();
    const { other, take } = machines() as Record<string, { sessions: unknown[]; mounts: { at: string }[] }>;
    expect(take?.mounts.map(({ at }) => at)).toContain("/srv/a");
    expect(other?.mounts.map(({ at }) => at)).not.toContain("/srv/a");
    await takeDown("a");
  });

  it("refuses the first call already, before anything was looked at", async () => {
    await service.volume("a", "published");
    await service.call("SnapshotService/CreateSnapshot", { snapshotId: "s", snapshot: { volume: name("a") } });
    await backUp();
    await volumes("ConnectVolume", "a", { host: "hosts/other" });
    const before = machines();
    await putBack();
    await expect(volumes("ConnectVolume", "a", { host: "hosts/take" })).rejects.toThrow(outdated);
    await expect(volumes("UnpublishVolume", "a")).rejects.toThrow(outdated);
    await expect(service.call("SnapshotService/RollbackVolume", { name: name("a"), snapshot: "snapshots/s" })).rejects.toThrow(outdated);
    expect(machines()).toEqual(before);
  });

  it.each([
    ["unmounted", (id: string) => volumes("UnmountVolume", id, { host: "hosts/take", targetPath: `/srv/${id}` })],
    ["taken down", takeDown],
  ])("mounts nothing of a volume that was %s since", async (_, change) => {
    await service.volume("a", "mounted");
    await backUp();
    await change("a");
    const before = machines();
    await putBack();
    await syncAll();
    expect(await conditionOf("a")).toBe("RECORD_OUTDATED");
    expect(machines()).toEqual(before);
  });

  it("tells a volume that was taken down also after its storage host has booted", async () => {
    await service.volume("a", "mounted");
    await backUp();
    await takeDown("a");
    service.plane.world.powerCycle("give");
    await putBack();
    await syncAll();
    expect(await conditionOf("a")).toBe("RECORD_OUTDATED");
  });

  it("leaves open what was under way in the copy, until it is decided", async () => {
    await service.volume("a", "published");
    const { faults } = service.plane.world;
    faults.add({ host: "take", match: { program: "iscsiadm" }, times: Infinity, effect: { kind: "fail" } });
    faults.add({ host: "give", match: { pathIncludes: "/acls/", op: "rmdir" }, times: Infinity, effect: { kind: "fail", errno: "EIO" } });
    await expect(volumes("ConnectVolume", "a", { host: "hosts/take" })).rejects.toThrow();
    faults.clear();
    await backUp();
    await expect.poll(() => conditionOf("a").then(() => volumes("ConnectVolume", "a", { host: "hosts/take" })).then(() => true, () => false), { timeout: 10_000 }).toBe(true);
    await volumes("StageVolume", "a", { host: "hosts/take", stagingPath: "/mnt/a" });
    const before = machines();
    await putBack();
    await syncAll();
    await expect(volumes("PublishVolume", "a")).rejects.toThrow(/first/);
    expect(machines()).toEqual(before);
    await volumes("SyncVolume", "a", { accept: "ACCEPTANCE_RECORD" });
    expect(((await volumes("GetVolume", "a"))["volume"] as Json)["attachments"] ?? []).toEqual([]);
  });

  it("lets access be taken away without hiding that it is older", async () => {
    await service.volume("a", "mounted");
    await backUp();
    await move("a");
    await putBack();
    await volumes("UnmountVolume", "a", { host: "hosts/take", targetPath: "/srv/a" });
    await volumes("UnstageVolume", "a", { host: "hosts/take" });
    await volumes("DisconnectVolume", "a", { host: "hosts/take", force: true });
    await syncAll();
    expect(await conditionOf("a")).toBe("RECORD_OUTDATED");
    const { other } = machines() as Record<string, { mounts: { at: string }[] }>;
    expect(other?.mounts.map(({ at }) => at)).toContain("/srv/a");
  });
});

it("a newer database than its hosts, as after their power cut, brings all back as ever", async () => {
  await service.volume("a", "mounted");
  await volumes("UnmountVolume", "a", { host: "hosts/take", targetPath: "/srv/a" });
  await volumes("MountVolume", "a", { host: "hosts/take", targetPath: "/srv/a" });
  service.plane.world.powerCycle("give");
  service.plane.world.powerCycle("take");
  await service.restart();
  await syncAll();
  expect(await conditionOf("a")).toBeUndefined();
});
