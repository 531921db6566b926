import { parseConfig, startControlPlane, type ControlPlane } from "@zfsilo/control-plane";
import { parseFlags, startDriver, type Driver } from "@zfsilo/csi";
import { createLogger } from "@zfsilo/lib";
import { randomBytes } from "node:crypto";
import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { authority } from "../../../control-plane/test/agent/certificates.ts";
import { connectTo } from "../../src/api/system.ts";
import { csiClients, type CsiClients } from "../../src/csi/running-driver.ts";

const log = createLogger("silent");
let directory: string;
const at = (name: string): string => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-credentials-"));
});
afterAll(() => rm(directory, { recursive: true }));

function start(name: string, env: Record<string, string> = {}, port = 0): Promise<ControlPlane> {
  const environment = { ZFSILO_DATA_DIR: at(name), ZFSILO_LISTEN: `127.0.0.1:${port}`, ...env };
  const config = parseConfig(environment, { name: "test.json", text: JSON.stringify({ reconcile: { intervalSeconds: 0 } }) });
  return startControlPlane({ config, log, secretKey: undefined, sshAgentSocket: undefined });
}

async function driverAt(plane: ControlPlane, name: string, flags: readonly string[]): Promise<CsiClients & Pick<Driver, "stop">> {
  const endpoint = `--endpoint=unix://${at(`${name}.sock`)}`;
  const address = `--control-plane=https://127.0.0.1:${plane.address.port}`;
  const driver = await startDriver(parseFlags([endpoint, address, `--token-file=${plane.adminTokenFile}`, "--mode=controller", ...flags]), log);
  return { ...csiClients(at(`${name}.sock`)), stop: () => driver.stop() };
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (Date.now() < end) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`not within 20 s: ${what}`);
}

it("an authority and client certificates are replaced under a driver that runs", async () => {
  const [first, second] = [await authority(directory, "first"), await authority(directory, "second")];
  const [server, client] = [await first.issue("server"), await first.issue("client")];
  const copies = async (from: { certFile: string; keyFile: string }, name: string): Promise<void> => {
    await copyFile(from.certFile, at(`${name}.crt`));
    await copyFile(from.keyFile, at(`${name}.pkey`));
  };
  await copies(server, "used-server");
  await copies(client, "used-client");
  await copyFile(first.caFile, at("ca.crt"));
  const env = {
    ZFSILO_TLS_CERT_FILE: at("used-server.crt"),
    ZFSILO_TLS_KEY_FILE: at("used-server.pkey"),
    ZFSILO_TLS_CLIENT_CA_FILE: at("ca.crt"),
  };
  let plane = await start("tls", env);
  const { port } = plane.address;
  const driver = await driverAt(plane, "tls", [`--ca-file=${at("ca.crt")}`, `--cert-file=${at("used-client.crt")}`, `--key-file=${at("used-client.pkey")}`]);
  const ready = async (): Promise<boolean> => (await driver.identity.probe({})).ready === true;
  expect(await ready()).toBe(true);

  // Both authorities first, then certificates of the new one alone.
  await writeFile(at("ca.crt"), Buffer.concat([await readFile(first.caFile), await readFile(second.caFile)]));
  await copies(await second.issue("server2"), "used-server");
  await copies(await second.issue("client2"), "used-client");
  await plane.stop();
  expect(await ready()).toBe(false);
  plane = await start("tls", env, port);
  await until("the driver goes on", ready);
  expect((await driver.controller.listVolumes({})).entries).toEqual([]);

  // The old authority is no longer trusted.
  await copyFile(second.caFile, at("ca.crt"));
  await copies(server, "used-server");
  await plane.stop();
  plane = await start("tls", env, port);
  expect(await ready()).toBe(false);
  await expect(driver.controller.listVolumes({})).rejects.toThrow(/certificate/);
  await driver.stop();
  await plane.stop();
});

it("a replaced admin token counts within seconds, and the old one no longer", async () => {
  const plane = await start("tokens");
  const works = async (token: string): Promise<boolean> =>
    connectTo(`127.0.0.1:${plane.address.port}`, token).service.getServerInfo({}).then(
      () => true,
      () => false,
    );
  const old = (await readFile(plane.adminTokenFile, "utf8")).trim();
  const fresh = randomBytes(32).toString("base64url");
  expect([await works(old), await works(fresh)]).toEqual([true, false]);
  await writeFile(at("admin.token"), `${fresh}\n`, { mode: 0o600 });
  await rename(at("admin.token"), plane.adminTokenFile);
  await until("the new token works", () => works(fresh));
  expect(await works(old)).toBe(false);
  await plane.stop();
});
