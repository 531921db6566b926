import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane } from "../../src/control-plane.ts";
import { hosts } from "./running-service.ts";

// A start on a data directory that is not whole: refused with the reason, and nothing is changed by it.

const text = JSON.stringify({ hosts, reconcile: { intervalSeconds: 0 } });
let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "zfsilo-start-"));
  await startAndStop();
});
afterEach(() => rm(dataDir, { recursive: true }));

async function startAndStop(more: Record<string, string> = {}, secretKey?: string): Promise<void> {
  const config = parseConfig({ ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: "127.0.0.1:0", ...more }, { name: "test.json", text });
  const plane = await startControlPlane({ config, log: createLogger("silent"), secretKey, sshAgentSocket: undefined });
  await plane.stop();
}

/** Names and contents. */
async function content(): Promise<Record<string, string>> {
  const names = (await readdir(dataDir)).filter((name) => !/-(?:wal|shm)$/.test(name));
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(dataDir, name), "base64")] as const)));
}

async function refusal(why: string, secretKey?: string): Promise<void> {
  const before = await content();
  await expect(startAndStop({}, secretKey)).rejects.toMatchObject({ details: { reason: why } });
  expect(await content()).toEqual(before);
}

describe("a start", () => {
  it("without its database is refused, and begins anew only when told to", async () => {
    await truncate(join(dataDir, "zfsilo.db"));
    await refusal("DATABASE_MISSING");
    await rm(join(dataDir, "zfsilo.db"));
    await refusal("DATABASE_MISSING");
    await startAndStop({ ZFSILO_NEW_INSTALLATION: "1" });
    await startAndStop();
  });

  it("without its secret key is refused, and makes no other", async () => {
    const key = await readFile(join(dataDir, "secret.key"));
    await rm(join(dataDir, "secret.key"));
    await rm(join(dataDir, "admin.token"));
    await refusal("SECRET_KEY_MISMATCH");
    await writeFile(join(dataDir, "secret.key"), key, { mode: 0o600 });
    await startAndStop();
  });

  it("with the secret key of another installation is refused", async () => {
    await writeFile(join(dataDir, "secret.key"), `${Buffer.alloc(32, 7).toString("base64")}\n`, { mode: 0o600 });
    await refusal("SECRET_KEY_MISMATCH");
    await refusal("SECRET_KEY_MISMATCH", Buffer.alloc(32, 8).toString("base64"));
  });
});
