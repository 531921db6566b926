import { join } from "node:path";
import { createLogger } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { answersKeptMs } from "../../src/operation/operations.ts";
import { openDatabase } from "../../src/store/database.ts";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const remove = (more: object = {}): Promise<Json> => service.call("VolumeService/DeleteVolume", { name: "volumes/one", ...more });
const grown = `${96 << 20}`;

async function zfs(...words: readonly string[]): Promise<string> {
  const { stdout } = await service.plane.world.executor("give").run(["zfs", ...words], { signal: new AbortController().signal });
  return stdout;
}

/** Makes what has ended look as if it had ended earlier. */
async function age(milliseconds: number): Promise<void> {
  const database = await openDatabase({ file: join(service.dataDir, "zfsilo.db"), log: createLogger("silent") });
  const ended = new Date(Date.now() - milliseconds).toISOString();
  await database.write((manager) => manager.query("update operations set ended_at = ?", [ended]));
  await database.close();
}

describe("DeleteVolume made again", () => {
  it("gets the first answer, also after a restart", async () => {
    await service.volume("one", "initial");
    const first = await remove();
    expect(first["operation"]).toMatch(/^operations\//);
    expect(await remove()).toEqual(first);
    await service.restart();
    expect(await remove()).toEqual(first);
  });

  it("gets it for ten minutes", async () => {
    await service.volume("one", "initial");
    const first = await remove();
    await age(answersKeptMs - 10_000);
    expect(await remove()).toEqual(first);
    await age(answersKeptMs);
    await expect(remove()).rejects.toThrow("not_found");
  });

  it("deletes what was made in between", async () => {
    await service.volume("one", "initial");
    const first = await remove();
    const handle = await service.volume("one", "initial");
    expect(await zfs("list", "-Hp", "-o", "name", "-t", "volume")).toContain(handle);
    const second = await remove();
    expect(second["operation"]).not.toBe(first["operation"]);
    expect(await zfs("list", "-Hp", "-o", "name", "-t", "volume")).toBe("");
    await expect(service.call("VolumeService/GetVolume", { name: "volumes/one" })).rejects.toThrow("not_found");
  });

  it("is told that nothing is there when it is another call", async () => {
    await service.volume("one", "initial");
    await remove({ allowMissing: true });
    await expect(remove()).rejects.toThrow("not_found");
    await expect(service.call("VolumeService/DeleteVolume", { name: "volumes/never" })).rejects.toThrow("not_found");
  });
});

describe("DeleteVolume that failed after the zvol was destroyed", () => {
  it("leaves no volume that looks ready, and ends when it is made again", async () => {
    await service.volume("one", "initial");
    const database = await openDatabase({ file: join(service.dataDir, "zfsilo.db"), log: createLogger("silent") });
    const sql = (text: string): Promise<unknown> => database.write((manager) => manager.query(text));
    await sql(`create trigger "kept" before delete on "volumes" begin select raise(abort, 'as the test wants it'); end`);
    await expect(remove()).rejects.toThrow("internal");
    const { volume } = await service.call("VolumeService/GetVolume", { name: "volumes/one" });
    expect(volume).toMatchObject({ condition: { abnormal: true, reason: "DELETING" } });
    expect((await service.call("VolumeService/ListVolumes", {}))["volumes"]).toEqual([volume]);
    await expect(service.call("VolumeService/PublishVolume", { name: "volumes/one" })).rejects.toThrow("it is being deleted");
    const synced = await service.call("VolumeService/SyncVolume", { name: "volumes/one" });
    expect(synced["differences"]).toMatchObject([{ reason: "DELETING", outcome: "DIFFERENCE_OUTCOME_LEFT" }]);
    await service.call("VolumeService/SyncVolumes", {});
    expect((await service.call("VolumeService/GetVolume", { name: "volumes/one" }))["volume"]).toMatchObject({ condition: { reason: "DELETING" } });
    await sql('drop trigger "kept"');
    await database.close();
    expect((await remove())["operation"]).toMatch(/^operations\//);
    await expect(service.call("VolumeService/GetVolume", { name: "volumes/one" })).rejects.toThrow("not_found");
  });
});

describe("UpdateVolume made again with the revision it was first made with", () => {
  const fields = { displayName: "Ledger", labels: { team: "books" } };
  const revision = async (): Promise<string> => {
    const { volume } = await service.call("VolumeService/GetVolume", { name: "volumes/one" });
    return String((volume as Json)["revision"]);
  };
  const update = async (change: Json, at: string): Promise<Json> =>
    service.call("VolumeService/UpdateVolume", {
      volume: { name: "volumes/one", revision: at, ...change },
      updateMask: Object.keys(change).join(","),
    });

  it.each([
    ["fields of the record", fields],
    ["the size", { capacityBytes: grown }],
    ["a size that is rounded up", { capacityBytes: `${(96 << 20) - 1}` }],
    ["all at once", { ...fields, capacityBytes: grown, zfsOptions: { compression: "zstd" } }],
  ])("gets the first answer: %s", async (_what, change) => {
    await service.volume("one", "mounted");
    const at = await revision();
    const first = await update(change, at);
    expect(first["operation"]).toMatch(/^operations\//);
    expect(await update(change, at)).toEqual(first);
    await service.restart();
    expect(await update(change, at)).toEqual(first);
  });

  it("is refused once somebody else has changed the volume", async () => {
    await service.volume("one", "initial");
    const at = await revision();
    await update(fields, at);
    await update({ displayName: "Other" }, await revision());
    await expect(update(fields, at)).rejects.toThrow("aborted");
    expect((await service.call("VolumeService/GetVolume", { name: "volumes/one" }))["volume"]).toMatchObject({ displayName: "Other" });
  });

  it("does what the first one did not get done", async () => {
    const handle = await service.volume("one", "initial");
    const at = await revision();
    const change = { ...fields, capacityBytes: grown, zfsOptions: { compression: "zstd" } };
    service.plane.world.faults.add({ match: { program: "zfs", argvIncludes: ["set", "volsize="] }, effect: { kind: "drop-before" } });
    await expect(update(change, at)).rejects.toThrow("unavailable");
    expect(await revision()).not.toBe(at);
    const { volume } = await update(change, at);
    expect(volume).toMatchObject({ ...fields, capacityBytes: grown, zfsOptions: { compression: "zstd" } });
    expect(await zfs("get", "-Hp", "-o", "value", "volsize,compression", `tank/zfsilo/${handle}`)).toBe(`${grown}\nzstd\n`);
  });
});
