import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase, type Database } from "./database.ts";
import { silent } from "./store-fixtures.ts";

describe("kept statements", () => {
  let directory: string;
  let database: Database;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "zfsilo-statements-"));
    database = await openDatabase({ file: join(directory, "zfsilo.db"), log: silent });
  });

  afterEach(async () => {
    await database.close();
    await rm(directory, { recursive: true });
  });

  const put = (key: string, value: string) =>
    database.write((manager) => manager.query("insert into settings values (?, ?)", [key, value]));
  const get = (key: string) => database.read<{ value: string }>("select value from settings where key = ?", [key]);

  it("answer each caller of the same statement with its own rows", async () => {
    const keys = Array.from({ length: 50 }, (_, index) => `key ${index}`);
    for (const key of keys) await put(key, `value of ${key}`);
    const answers = await Promise.all(keys.map(get));
    expect(answers).toEqual(keys.map((key) => [{ value: `value of ${key}` }]));
  });

  it("see what was written since they ran last", async () => {
    expect(await get("a")).toEqual([]);
    await put("a", "1");
    expect(await get("a")).toEqual([{ value: "1" }]);
  });

  it("can be used again after they failed", async () => {
    await put("a", "1");
    await expect(put("a", "2")).rejects.toThrow("UNIQUE constraint failed");
    await put("b", "2");
    expect(await get("a")).toEqual([{ value: "1" }]);
    expect(await get("b")).toEqual([{ value: "2" }]);
  });

  it("fail for every caller when they are none", async () => {
    const callers = Array.from({ length: 3 }, () => database.read("select nothing from settings"));
    const ends = await Promise.allSettled(callers);
    expect(ends.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  });

  it("follow a change of the schema", async () => {
    const all = () => database.read("select * from settings");
    await put("a", "1");
    expect(await all()).toEqual([{ key: "a", value: "1" }]);
    await database.write((manager) => manager.query("alter table settings add column note text default 'new'"));
    expect(await all()).toEqual([{ key: "a", value: "1", note: "new" }]);
  });

  it("let the database close while new ones are being prepared", async () => {
    const reads = Array.from({ length: 20 }, (_, index) => database.read(`select value, ${index} as n from settings`));
    const ended = Promise.allSettled(reads);
    await new Promise(setImmediate);
    await database.close();
    await ended;
    database = await openDatabase({ file: join(directory, "zfsilo.db"), log: silent });
  });

  it("are let go in use, when there are more than are kept", async () => {
    await put("a", "1");
    const different = Array.from({ length: 400 }, (_, index) => database.read(`select value, ${index} as n from settings`));
    const answers = await Promise.all([...different, ...Array.from({ length: 400 }, (_, index) => database.read(`select value, ${index} as n from settings`))]);
    expect(answers).toEqual(Array.from({ length: 800 }, (_, index) => [{ value: "1", n: index % 400 }]));
  });
});
