import { spawn } from "node:child_process";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SecretKey } from "../secret-key.ts";
import { openDatabase, type Database } from "./database.ts";
import { Lease, type Query } from "./lease.ts";
import { openStores } from "./open-stores.ts";
import { ownIdentity, type ProcessIdentity } from "./process-identity.ts";
import { silent } from "./store-fixtures.ts";

let directory: string;
let file: string;
let database: Database;
let query: Query;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-lease-"));
  file = join(directory, "zfsilo.db");
  database = await openDatabase({ file, log: silent });
  query = (sql, parameters = []) => database.write((manager) => manager.query(sql, [...parameters]));
});
afterEach(async () => {
  await database.close();
  await rm(directory, { recursive: true });
});

const acquire = (more: { wait?: boolean; ttlMs?: number } = {}): Promise<Lease> =>
  Lease.acquire({ query, wait: false, log: silent, ttlMs: 500, ...more });

/** The row as if another process had taken it. */
async function heldBy(holder: Partial<ProcessIdentity>): Promise<void> {
  await query(`update "lease" set "owner" = 'other', "holder" = ?`, [JSON.stringify({ ...(await ownIdentity()), ...holder })]);
}

describe("a lease", () => {
  it("keeps a second one out, with the holder's name", async () => {
    const lease = await acquire();
    await expect(acquire()).rejects.toMatchObject({
      reason: "precondition",
      message: expect.stringContaining(`process ${process.pid} on `) as string,
      details: { reason: "LEASE_HELD" },
    });
    await lease.release(query);
    await acquire();
  });

  it("can be waited for", async () => {
    const lease = await acquire();
    const waiting = acquire({ wait: true });
    await expect(Promise.race([waiting, Promise.resolve("waits")])).resolves.toBe("waits");
    await lease.release(query);
    (await waiting).assertHeld();
  });

  it("of a process that was killed is taken over at once, collected by its parent or not", async () => {
    await acquire({ ttlMs: 60_000 });
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    await heldBy({ pid: child.pid ?? 0, startTicks: "0" });
    const began = performance.now();
    await acquire();
    expect(performance.now() - began).toBeLessThan(1_000);
    child.kill("SIGKILL");
  });

  it.each([
    ["of a boot that is over is taken over at once", { bootId: "another" }],
    ["of a process that is gone is taken over at once", { pid: 2 ** 22 + 1 }],
  ])("%s", async (_what, holder) => {
    await acquire({ ttlMs: 60_000 });
    await heldBy(holder);
    await acquire();
  });

  it.each([{ host: "elsewhere" }, { pidNamespace: "pid:[1]" }])("of a process that cannot be seen (%j) is taken over when it expires", async (holder) => {
    await acquire({ ttlMs: 700 });
    await heldBy(holder);
    const began = performance.now();
    await acquire();
    expect(performance.now() - began).toBeGreaterThan(200);
  });

  it.each([["ahead", 10 * 365 * 86_400_000], ["behind", -10 * 365 * 86_400_000]])(
    "of a holder that is gone and whose clock was years %s keeps others out no longer than any other",
    async (_, shiftMs) => {
      await acquire();
      await heldBy({ host: "elsewhere" });
      await query(`update "lease" set "heartbeat_at" = "heartbeat_at" + ?, "expires_at" = "expires_at" + ?`, [shiftMs, shiftMs]);
      const began = performance.now();
      await acquire();
      const tookMs = performance.now() - began;
      expect(tookMs).toBeGreaterThan(450);
      expect(tookMs).toBeLessThan(2_500);
    },
  );

  it("of a holder that renews with a clock that was set back is not taken over", async () => {
    await acquire();
    await heldBy({ host: "elsewhere" });
    await query(`update "lease" set "expires_at" = 0`);
    const renewing = setInterval(() => void query(`update "lease" set "heartbeat_at" = "heartbeat_at" + 1`), 50);
    await expect(acquire()).rejects.toMatchObject({ details: { reason: "LEASE_HELD" } });
    clearInterval(renewing);
  });

  it("of a process that cannot be seen and renews keeps others out", async () => {
    await acquire({ ttlMs: 60_000 });
    await heldBy({ host: "elsewhere" });
    const renewing = setInterval(() => void query(`update "lease" set "heartbeat_at" = "heartbeat_at" + 1`), 50);
    await expect(acquire()).rejects.toMatchObject({ message: expect.stringContaining("on elsewhere") as string });
    clearInterval(renewing);
  });

  it("that was taken over is known to be lost at the next renewal, for good", async () => {
    const lease = await acquire();
    expect(await lease.renew(query)).toBe(true);
    await heldBy({ pid: 1 });
    expect(await lease.renew(query)).toBe(false);
    expect(() => { lease.assertHeld(); }).toThrow("taken over by process 1");
    expect(await lease.renew(query)).toBe(false);
  });

  it("that is not renewed in time is not held, until it is renewed", async () => {
    const lease = await acquire({ ttlMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(() => { lease.assertHeld(); }).toThrow("was not renewed");
    expect(await lease.renew(query)).toBe(true);
    lease.assertHeld();
  });
});

it("stores with a lease stop writing when it is lost", async () => {
  await database.close();
  const lost = new Promise<unknown>((resolve) => {
    void openStores({ file, key: new SecretKey(randomBytes(32)), log: silent, lease: { wait: false, ttlMs: 300, onLost: resolve } }).then(async (stores) => {
      database = await openDatabase({ file, log: silent });
      await stores.settings.choose("cluster_id", "a");
      await heldBy({ pid: 1 });
      await lost;
      await expect(stores.settings.choose("cluster_id", "b")).rejects.toThrow("taken over");
      await stores.close();
    });
  });
  expect(await lost).toMatchObject({ reason: "unavailable" });
});
