import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as Ssh2 from "ssh2";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// One host that cannot be used, in each way that was met: it is named with the cause, and the others are looked at and mended.

// ssh2 is a dependency of the command package.
const { Server, utils } = createRequire(new URL("../../../command/src/index.ts", import.meta.url))("ssh2") as typeof Ssh2;

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const roles = ["HOST_ROLE_TARGET", "HOST_ROLE_INITIATOR"];
const create = (hostId: string, connection: object): Promise<Json> => service.call("HostService/CreateHost", { hostId, host: { roles, ...connection } });
const conditionOf = async (id: string): Promise<Json | undefined> =>
  ((await service.call("HostService/GetHost", { name: `hosts/${id}` }))["host"] as Json)["condition"] as Json | undefined;

/** Everything that looks at all hosts goes on without the broken one, and names it. `withinMs` bounds each. */
async function expectOthersMended(broken: string, withinMs: number): Promise<void> {
  await service.volume("one", "mounted");
  const before = (service.plane.world.snapshot() as Json)["give"];
  service.plane.world.powerCycle("give");
  const began = performance.now();
  const timed = async (what: Promise<unknown>): Promise<number> => {
    await what;
    return performance.now() - began;
  };
  const sync = service.call("VolumeService/SyncVolumes", {});
  const orphans = service.call("OrphanService/ListOrphans", {});
  const check = service.call("HostService/CheckHost", { name: `hosts/${broken}` });
  const scrape = service.get("/metrics");
  const times = await Promise.all([sync, orphans, check, scrape].map((what) => timed(what)));
  expect(Math.max(...times)).toBeLessThan(withinMs);
  expect(await sync).toMatchObject({ checked: "1", repaired: "2", unreachableHosts: [`hosts/${broken}`] });
  expect((service.plane.world.snapshot() as Json)["give"]).toEqual(before);
  expect(await orphans).toEqual({ unreachableHosts: [`hosts/${broken}`] });
  expect(await check).toMatchObject({ checks: [{ name: "connection", state: "CHECK_STATE_FAILED" }] });
  expect(await check).not.toHaveProperty("ready");
  expect((await scrape).status).toBe(200);
}

describe("a host without anything to log in with", () => {
  const ssh = { address: "127.0.0.1", port: 1, knownHostsFile: "/none" };

  it("is named with the cause, and the others are looked at", async () => {
    await create("bad", { ssh });
    await expectOthersMended("bad", 5_000);
    expect(await conditionOf("bad")).toMatchObject({ reason: "HOST_UNREADABLE", message: expect.stringMatching(/no private key file and there is no ssh agent.*Set ssh.private_key_file/) as string });
    const { checks } = await service.call("HostService/CheckHost", { name: "hosts/bad" });
    expect((checks as Json[])[0]?.["remedy"]).toContain("ssh.private_key_file");
  });

  it("whose key file is missing likewise", async () => {
    await create("bad", { ssh: { ...ssh, privateKeyFile: "/none/key" } });
    await service.call("VolumeService/SyncVolumes", {});
    expect(await conditionOf("bad")).toMatchObject({ reason: "HOST_UNREADABLE", message: expect.stringContaining("ENOENT") as string });
  });
});

describe("a host that takes connections and never answers", () => {
  it("holds nobody up for longer than its own look", async () => {
    await create("mute", { simulated: {} });
    service.plane.world.faults.add({ host: "mute", match: {}, times: Infinity, effect: { kind: "hang" } });
    await expectOthersMended("mute", 13_000);
    expect(await conditionOf("mute")).toMatchObject({ reason: "HOST_UNREACHABLE", message: expect.stringContaining("no answer within 10 s") as string });
    service.plane.world.faults.clear();
    expect(await service.call("VolumeService/SyncVolumes", {})).not.toHaveProperty("unreachableHosts");
    expect(await conditionOf("mute")).toBeUndefined();
  });
});

describe("a host that answers garbage", () => {
  it("is named with what it said", async () => {
    await service.call("HostService/CreateHost", { hostId: "mad", host: { roles: ["HOST_ROLE_TARGET"], simulated: {}, pools: [{ name: "tank" }] } });
    service.plane.world.faults.add({ host: "mad", match: { program: "zpool" }, times: Infinity, effect: { kind: "garbage", stdout: "Segmentation fault\n", exitCode: 0 } });
    await service.volume("one", "mounted");
    expect(await service.call("VolumeService/SyncVolumes", {})).toEqual({ checked: "1", unreachableHosts: ["hosts/mad"] });
    expect(await conditionOf("mad")).toMatchObject({ reason: "HOST_UNREADABLE", message: expect.stringContaining("Segmentation fault") as string });
  });
});

describe("a host that shows another host key", () => {
  it("has a condition of its own, which says what to do", async () => {
    const keys = [utils.generateKeyPairSync("ed25519"), utils.generateKeyPairSync("ed25519")] as const;
    const server = new Server({ hostKeys: [keys[0].private] });
    server.on("connection", (client) => client.on("error", () => undefined));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const directory = await mkdtemp(join(tmpdir(), "zfsilo-known-"));
    const knownHostsFile = join(directory, "known_hosts");
    const privateKeyFile = join(directory, "key");
    await writeFile(privateKeyFile, keys[0].private, { mode: 0o600 });
    try {
      await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${keys[1].public}\n`);
      await create("anew", { ssh: { address: "127.0.0.1", port, knownHostsFile, privateKeyFile } });
      await service.call("VolumeService/SyncVolumes", {});
      const message = expect.stringMatching(/is not the known one.*It now shows ssh-ed25519 SHA256:.*correct the entry/) as string;
      expect(await conditionOf("anew")).toMatchObject({ reason: "HOST_KEY_CHANGED", message });
      await writeFile(knownHostsFile, "");
      await service.call("VolumeService/SyncVolumes", {});
      expect(await conditionOf("anew")).toMatchObject({ reason: "HOST_KEY_CHANGED" });
    } finally {
      server.close();
      await rm(directory, { recursive: true });
    }
  });
});

describe("an update of a host", () => {
  const recorded = async (): Promise<unknown> => {
    const { lastSeenTime: _seen, state: _state, ...host } = (await service.call("HostService/GetHost", { name: "hosts/give" }))["host"] as Json;
    return host;
  };

  it.each([
    ["a field that is wrong", { displayName: "x", portals: [{ address: "nowhere" }] }, "displayName,portals"],
    ["a revision that has passed", { displayName: "x", revision: "77" }, "displayName"],
    ["a parent dataset that volumes use", { displayName: "x", pools: [{ name: "tank", parentDataset: "tank/other" }] }, "displayName,pools"],
  ])("that is refused for %s changes nothing", async (_why, change, updateMask) => {
    await service.volume("one", "mounted");
    const before = [await recorded(), await service.plane.executor("give")];
    await expect(service.call("HostService/UpdateHost", { host: { name: "hosts/give", ...change }, updateMask })).rejects.toThrow();
    expect(await recorded()).toEqual(before[0]);
    expect(await service.plane.executor("give")).toBe(before[1]);
  });

  it("to a connection that cannot be used is done, and shows as a condition", async () => {
    await create("bad", { ssh: { address: "127.0.0.1", port: 1, knownHostsFile: "/none", privateKeyFile: "/none" } });
    const host = { name: "hosts/bad", ssh: { address: "127.0.0.1", port: 1, knownHostsFile: "/none" } };
    await service.call("HostService/UpdateHost", { host, updateMask: "ssh" });
    await service.call("VolumeService/SyncVolumes", {});
    expect(await conditionOf("bad")).toMatchObject({ reason: "HOST_UNREADABLE" });
  });
});
