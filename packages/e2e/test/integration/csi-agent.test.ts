import { Code, ConnectError } from "@connectrpc/connect";
import { HostRole, HostState } from "@zfsilo/api";
import { parseFlags, startDriver, type Driver } from "@zfsilo/csi";
import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";
import { csiClients } from "../../src/csi/running-driver.ts";

/** The driver of a node as the chart starts it: nobody has told the control plane of the node before. */
describe("a node's driver with its agent", () => {
  let system: System;
  let directory: string;
  let driver: Driver | undefined;

  beforeEach(async () => {
    system = await startSystem({ hosts: [] });
    directory = await mkdtemp(join(tmpdir(), "zfsilo-csi-agent-"));
  });
  afterEach(async () => {
    await driver?.stop();
    driver = undefined;
    await system.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const file = (name: string): string => join(directory, name);

  async function start(nodeName: string): Promise<void> {
    await driver?.stop();
    const config = parseFlags([
      "--mode=node",
      `--endpoint=unix://${file("csi.sock")}`,
      `--control-plane=http://127.0.0.1:${system.controlPlane.address.port}`,
      `--token-file=${system.controlPlane.adminTokenFile}`,
      `--node-name=${nodeName}`,
      `--agent-credential-file=${file("agent/credential.json")}`,
      "--agent-allowed-root=/var/lib/kubelet",
    ]);
    driver = await startDriver(config, createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent"));
  }

  const nodeId = async (timeoutMs = 20_000): Promise<string> => (await csiClients(file("csi.sock")).node.nodeGetInfo({}, { timeoutMs })).nodeId;
  const theOnlyHost = async () => {
    const { hosts } = await system.hosts.listHosts({});
    expect(hosts).toHaveLength(1);
    return hosts[0]!;
  };

  it("becomes a host by itself, and stays it", async () => {
    await start("worker-1");
    expect(await nodeId()).toBe("worker-1");
    await expect.poll(async () => (await theOnlyHost()).state).toBe(HostState.ONLINE);
    expect(await theOnlyHost()).toMatchObject({ name: "hosts/worker-1", roles: [HostRole.INITIATOR], allowedRoots: ["/var/lib/kubelet"] });
    const credential = await readFile(file("agent/credential.json"), "utf8");
    expect((await stat(file("agent/credential.json"))).mode & 0o777).toBe(0o600);

    await start("worker-1");
    expect(await nodeId()).toBe("worker-1");
    await theOnlyHost();
    expect(await readFile(file("agent/credential.json"), "utf8")).toBe(credential);
  });

  it("is called by its host's id, not by the node's name", async () => {
    await start("10-0-0-1.eu.example");
    const id = await nodeId();
    expect(id).toMatch(/^n-10-0-0-1-eu-example_[0-9a-f]{10}$/);
    expect((await theOnlyHost()).name).toBe(`hosts/${id}`);
  });

  it("comes back as the same host after its credential was lost", async () => {
    await start("worker-1");
    await nodeId();
    await driver?.stop();
    driver = undefined;
    await rm(file("agent"), { recursive: true });
    await expect.poll(async () => (await theOnlyHost()).state).toBe(HostState.OFFLINE);
    await start("worker-1");
    expect(await nodeId()).toBe("worker-1");
    await expect.poll(async () => (await theOnlyHost()).state).toBe(HostState.ONLINE);
  });

  it("stays out once it was revoked, and says so to kubelet", async () => {
    await start("worker-1");
    await nodeId();
    await expect.poll(async () => (await theOnlyHost()).state).toBe(HostState.ONLINE);
    await system.hosts.revokeAgent({ name: "hosts/worker-1" });
    await driver?.stop();
    driver = undefined;
    await rm(file("agent"), { recursive: true });
    await start("worker-1");
    const answer = await nodeId(2_000).catch((error: unknown) => ConnectError.from(error));
    expect(answer).toMatchObject({ code: expect.toSatisfy((code: Code) => [Code.Unavailable, Code.DeadlineExceeded].includes(code)) });
    expect((await theOnlyHost()).state).not.toBe(HostState.ONLINE);
  });
});
