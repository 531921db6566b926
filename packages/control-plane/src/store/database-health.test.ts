import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { DatabaseHealth } from "./database-health.ts";
import { openDatabase, type Database } from "./database.ts";
import { silent } from "./store-fixtures.ts";

let directory: string;
let database: Database;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-health-"));
  database = await openDatabase({ file: join(directory, "zfsilo.db"), log: silent });
});
afterEach(async () => {
  await database.close();
  await rm(directory, { recursive: true });
});

const pragma = (text: string): Promise<unknown> => database.write((manager) => manager.query(`pragma ${text}`));
const big = "x".repeat(20_000);
const write = (key: string): Promise<unknown> =>
  database.write((manager) =>
    database.atomically(manager, async (transaction) => {
      await transaction.query(`insert into settings ("key", "value") values (?, 'small')`, [`${key}-first`]);
      await transaction.query(`insert into settings ("key", "value") values (?, ?)`, [key, big]);
    }),
  );
const keys = async (): Promise<unknown> => (await database.read<{ key: string }>("select key from settings order by key")).map(({ key }) => key);

it("a full disk is told as such, leaves nothing half-written, and is over when there is room", async () => {
  await pragma("max_page_count = 1");
  await expect(write("full")).rejects.toMatchObject({ reason: "unavailable", hint: expect.stringContaining("is full") as string });
  expect(database.problem).toMatchObject({ reason: "unavailable" });
  expect(await keys()).toEqual([]);
  await pragma("max_page_count = 1000000");
  await write("room");
  expect(await keys()).toEqual(["room", "room-first"]);
  await write("again");
  expect(await keys()).toHaveLength(4);
});

it("a read-only database is told as such", async () => {
  await pragma("query_only = on");
  await expect(write("a")).rejects.toMatchObject({ reason: "unavailable", hint: expect.stringContaining("cannot be written") as string });
  await pragma("query_only = off");
  await write("b");
  expect(await keys()).toEqual(["b", "b-first"]);
});

it("what callers do wrong is no problem of the database", async () => {
  await write("a");
  await expect(write("a")).rejects.toThrow("UNIQUE");
  expect(database.problem).toBeUndefined();
});

it.each([
  ["SQLITE_FULL: database or disk is full", false],
  ["SQLITE_CORRUPT: database disk image is malformed", true],
])("what works afterwards makes up for it, unless pages are lost: %s", (message, lasts) => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const health = new DatabaseHealth("zfsilo.db");
  health.failed(new Error(message));
  health.worked();
  expect(health.problem).toBeDefined();
  vi.advanceTimersByTime(6_000);
  health.worked();
  expect(health.problem !== undefined).toBe(lasts);
});
