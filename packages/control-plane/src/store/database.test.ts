import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SecretKey } from "../secret-key.ts";
import { openDatabase } from "./database.ts";
import { settingEntity } from "./entities.ts";
import { openStores } from "./open-stores.ts";
import { silent } from "./store-fixtures.ts";

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-db-"));
  file = join(directory, "deep", "zfsilo.db");
});
afterEach(() => rm(directory, { recursive: true }));

describe("the database", () => {
  it("is made private, durable and checked", async () => {
    const database = await openDatabase({ file, log: silent });
    const pragma = (name: string): Promise<unknown> => database.write((manager) => manager.query(`pragma ${name}`));
    expect(await pragma("journal_mode")).toEqual([{ journal_mode: "wal" }]);
    expect(await pragma("synchronous")).toEqual([{ synchronous: 2 }]);
    expect(await pragma("foreign_keys")).toEqual([{ foreign_keys: 1 }]);
    expect(await pragma("busy_timeout")).toEqual([{ timeout: 5000 }]);
    for (const name of [file, `${file}-wal`, `${file}-shm`]) expect((await stat(name)).mode & 0o777).toBe(0o600);
    await database.close();
  });

  it("lets what must come first pass all writers that wait, and asks each of them in its turn", async () => {
    const database = await openDatabase({ file, log: silent });
    const order: string[] = [];
    const writing = (name: string): Promise<void> =>
      database.write(async (manager) => {
        await manager.query("select 1");
        order.push(name);
      });
    const writers = ["a", "b", "c", "d"].map(writing);
    const first = database.writeFirst(() => Promise.resolve(order.push("first")));
    await Promise.all([...writers, first]);
    expect(order.indexOf("first")).toBeLessThanOrEqual(1);

    const late = [writing("e"), writing("f")];
    database.guardWrites(() => {
      throw new Error("no longer ours");
    });
    expect((await Promise.allSettled(late)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(order).not.toContain("f");
    await expect(database.writeFirst(() => Promise.resolve("still"))).resolves.toBe("still");
    await database.close();
  });

  it("of a newer version is refused and left as it is", async () => {
    const database = await openDatabase({ file, log: silent });
    await database.write((manager) => manager.query("insert into migrations (timestamp, name) values (9, 'FromTheFuture9')"));
    await database.close();
    const before = await readFile(file);
    await expect(openDatabase({ file, log: silent })).rejects.toMatchObject({
      reason: "precondition",
      message: expect.stringContaining("newer version of zfsilo (FromTheFuture9)") as string,
      hint: expect.stringContaining("Nothing was changed") as string,
    });
    expect(await readFile(file)).toEqual(before);
  });

  it("that is no database is refused and left as it is", async () => {
    const path = join(directory, "zfsilo.db");
    const text = "this is somebody's text file, not a database; ".repeat(50);
    await writeFile(path, text);
    await expect(openDatabase({ file: path, log: silent })).rejects.toMatchObject({ reason: "precondition", message: `open the database ${path}` });
    expect(await readFile(path, "utf8")).toBe(text);
  });

  it("opened with another secret key is refused", async () => {
    await (await openStores({ file, key: new SecretKey(randomBytes(32)), log: silent })).close();
    await expect(openStores({ file, key: new SecretKey(randomBytes(32)), log: silent })).rejects.toMatchObject({
      reason: "precondition",
      hint: expect.stringContaining("secret.key") as string,
    });
  });

  it("never lets two writers into one transaction", async () => {
    const database = await openDatabase({ file, log: silent });
    const insert = (key: string) => ({ key, value: "x" });
    const failing = database.write((manager) =>
      database.atomically(manager, async (transaction) => {
        await transaction.insert(settingEntity, insert("lost"));
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw new Error("rolled back");
      }),
    );
    const other = database.write((manager) => manager.insert(settingEntity, insert("kept")));
    const during = database.read("select key from settings");
    await expect(failing).rejects.toThrow("rolled back");
    await other;
    expect(await during).toEqual([]);
    expect(await database.read("select key from settings")).toEqual([{ key: "kept" }]);
    await database.close();
  });

  it("does not write on the connection that reads", async () => {
    const database = await openDatabase({ file, log: silent });
    await expect(database.read("delete from settings")).rejects.toMatchObject({ cause: expect.objectContaining({ message: expect.stringContaining("readonly") as string }) as Error });
    await database.close();
  });
});
