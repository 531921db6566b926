import { parseOperationId } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { journalEntry, temporaryStores, type TemporaryStores } from "./store-fixtures.ts";
import type { CommandRecord } from "./stores.ts";

const id = parseOperationId("op_a");
const command = (text: string): CommandRecord => ({ step: "first", host: "hst_give", command: text, exitCode: 0, error: "", durationMs: 1.5 });

let stores: TemporaryStores;
beforeEach(async () => {
  stores = await temporaryStores();
});
afterEach(() => stores[Symbol.asyncDispose]());

describe("operations", () => {
  it("survive a restart with times and exact sizes", async () => {
    const entry = journalEntry("op_a", { context: { size: 2n ** 63n - 1n, name: "x" } });
    await stores.operations.open(entry);
    await stores.reopen();
    expect(await stores.operations.listOpen()).toEqual([entry]);
    expect(await stores.operations.get(id)).toEqual({ ...entry, commands: [] });
  });

  it("show what became of them, and lose what was cleared", async () => {
    const entry = journalEntry("op_a");
    await stores.operations.open(entry);
    entry.failure = { reason: "no_space", message: "zfs: create: out of space", hint: "Free some." };
    entry.state = "stuck";
    await stores.operations.save(entry);
    expect(await stores.operations.listOpen()).toEqual([entry]);
    delete entry.failure;
    entry.state = "failed";
    entry.endedAt = new Date("2026-02-01T00:00:00.000Z");
    await stores.operations.save(entry);
    expect(await stores.operations.listOpen()).toEqual([]);
    expect(await stores.operations.get(id)).toEqual({ ...entry, commands: [] });
  });

  it("are saved only after they were opened", async () => {
    await expect(stores.operations.save(journalEntry("op_a"))).rejects.toThrow("never opened");
  });

  it("come open ones oldest first", async () => {
    for (const [name, time] of [["op_b", 2], ["op_c", 1], ["op_a", 3]] as const) {
      await stores.operations.open(journalEntry(name, { createdAt: new Date(time) }));
    }
    expect((await stores.operations.listOpen()).map((entry) => entry.id)).toEqual(["op_c", "op_b", "op_a"]);
  });

  it("keep the newest hundred commands", async () => {
    await stores.operations.open(journalEntry("op_a"));
    await stores.operations.addCommands(id, Array.from({ length: 60 }, (_, index) => command(`one ${index}`)));
    await stores.operations.addCommands(id, Array.from({ length: 60 }, (_, index) => command(`two ${index}`)));
    await stores.operations.save(journalEntry("op_a", { state: "undoing" }));
    const { commands } = await stores.operations.get(id);
    expect(commands).toHaveLength(100);
    expect([commands[0], commands[99]]).toEqual([command("one 20"), command("two 59")]);
  });

  it("are listed newest first, and filtered", async () => {
    for (let index = 0; index < 5; index += 1) {
      await stores.operations.open(journalEntry(`op_${index}`, { createdAt: new Date(index), subject: `volumes/vol_${index % 2}` }));
    }
    const list = async (filter: string): Promise<string> =>
      (await stores.operations.list({ pageSize: 0, pageToken: "", filter, orderBy: "" })).items.map((entry) => entry.id).join();
    expect(await list("")).toBe("op_4,op_3,op_2,op_1,op_0");
    expect(await list("subject = volumes/vol_1 AND state = RUNNING AND kind = volume.create")).toBe("op_3,op_1");
  });

  it("are pruned by the time they ended, open ones never", async () => {
    const old = new Date("2020-01-01T00:00:00.000Z");
    for (let index = 0; index < 600; index += 1) {
      await stores.operations.open(journalEntry(`op_old${index}`, { state: "failed", createdAt: old, endedAt: old }));
    }
    await stores.operations.open(journalEntry("op_open", { createdAt: old }));
    await stores.operations.open(journalEntry("op_new", { state: "succeeded", createdAt: old, endedAt: new Date("2026-01-01T00:00:00.000Z") }));
    expect(await stores.operations.prune(new Date("2025-01-01T00:00:00.000Z"))).toBe(600);
    const left = await stores.operations.list({ pageSize: 0, pageToken: "", filter: "", orderBy: "name" });
    expect(left.items.map((entry) => entry.id)).toEqual(["op_new", "op_open"]);
  });
});
