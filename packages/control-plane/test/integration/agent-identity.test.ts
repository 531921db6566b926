import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { agentService, until, type AgentService } from "../agent/agent-service.ts";
import type { Json } from "./running-service.ts";

let system: AgentService;
beforeEach(async () => {
  system = await agentService();
});
afterEach(() => system[Symbol.asyncDispose]());

const call = (method: string, message: object): Promise<Json> => system.service.call(`HostService/${method}`, message);
const online = async (host: string): Promise<boolean> => (await system.host(host))["state"] === "HOST_STATE_ONLINE";
const said = (text: string): boolean => system.lines.some((line) => line.includes(text));

async function joined(name: "give" | "take", options: { readonly allowedRoots?: readonly string[] } = {}) {
  const executor = system.machine(name);
  const token = await system.joinToken({ host: `hosts/${name}` });
  const agent = system.agent(name, { token, executor, ...options });
  await agent.host;
  await until(`${name} is online`, () => online(name));
  return { agent, token, executor };
}

describe("enrolling", () => {
  it("takes a whole volume life through agents, within their policy", async () => {
    await joined("give");
    await joined("take");
    await system.service.volume("v", "mounted");
    await system.service.call("VolumeService/UpdateVolume", { volume: { name: "volumes/v", capacityBytes: `${128 << 20}` }, updateMask: "capacityBytes" });
    await system.service.call("VolumeService/UnmountVolume", { name: "volumes/v", host: "hosts/take", targetPath: "/srv/v" });
    await system.service.call("VolumeService/UnstageVolume", { name: "volumes/v", host: "hosts/take" });
    await system.service.call("VolumeService/DisconnectVolume", { name: "volumes/v", host: "hosts/take" });
    await system.service.call("VolumeService/UnpublishVolume", { name: "volumes/v" });
    await system.service.call("VolumeService/DeleteVolume", { name: "volumes/v" });
    expect((await call("CheckHost", { name: "hosts/give" }))["checks"]).toBeInstanceOf(Array);
    await system.service.volume("b", "mounted", { mode: "VOLUME_MODE_BLOCK", filesystem: undefined });
    expect(said("refused what the control plane asked for")).toBe(false);
    const status = (await system.host("give"))["agentStatus"];
    expect(status).toMatchObject({ version: "0.1.0", nodeName: "give" });
    expect((await system.host("give"))["lastSeenTime"]).toBeDefined();
  });

  it("makes hosts for nodes whose names match, with what the token says", async () => {
    const hostTemplate = { roles: ["HOST_ROLE_INITIATOR"], labels: { zone: "a" } };
    const token = await system.joinToken({ hostTemplate, nodeNamePattern: "node-*.example", lifetimeSeconds: 60 });
    const [first, second] = ["node-1.example", "node-2.example"].map((nodeName) => system.agent(nodeName, { token, allowedRoots: ["/data/kubelet"] }));
    const hosts = await Promise.all([first!.host, second!.host]);
    expect(new Set(hosts).size).toBe(2);
    expect(hosts[0]).toMatch(/^hosts\/node-1-example_[0-9a-f]{10}$/);
    expect(await system.host(hosts[0].slice(6))).toMatchObject({ agent: {}, labels: { zone: "a" }, allowedRoots: ["/data/kubelet"] });
    system.agent("other", { token, nodeName: "other.example" });
    await until("the other is refused", () => said("the join token is not valid"));
  });

  it.each([
    ["unknown", () => Promise.resolve("zj_0000000000000000000000000000000000000000000")],
    ["of one use and used", async () => (await joined("give")).token],
    ["deleted", async () => {
      const made = await call("CreateJoinToken", { host: "hosts/take" });
      await call("DeleteJoinToken", { name: (made["joinToken"] as Json)["name"] });
      return String(made["secret"]);
    }],
  ])("refuses a token that is %s, and tells the agent nothing more", async (_what, make) => {
    system.agent("stranger", { token: await make() });
    await until("it is refused", () => said("the join token is not valid"));
    expect(await online("take")).toBe(false);
  });

  it("refuses a token that has expired", async () => {
    const token = await system.joinToken({ host: "hosts/take", lifetimeSeconds: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    system.agent("late", { token });
    await until("it is refused", () => said("the join token is not valid"));
  });

  /** A node that joined with a token for nodes. */
  async function joinedNode(nodeName: string, roles = ["HOST_ROLE_INITIATOR"]) {
    const agent = system.agent(`first ${nodeName}`, { token: await system.joinToken({ hostTemplate: { roles } }), nodeName, executor: system.machine("take") });
    expect(await agent.host).toBe(`hosts/${nodeName}`);
    await until(`${nodeName} is online`, () => online(nodeName));
    return agent;
  }

  it("keeps a host from a node that comes with its name", async () => {
    await joinedNode("node-1");
    const hostTemplate = { roles: ["HOST_ROLE_INITIATOR"] };
    system.agent("thief", { token: await system.joinToken({ hostTemplate, replaceOffline: true }), nodeName: "node-1" });
    await until("it is refused", () => said("hosts/node-1 has an agent already"));
  });

  it("gives an offline host to the node that lost its credential when the token says so", async () => {
    const agent = await joinedNode("node-1");
    await agent.stop();
    await until("it is offline", async () => !(await online("node-1")));
    const hostTemplate = { roles: ["HOST_ROLE_INITIATOR"] };
    system.agent("strict", { token: await system.joinToken({ hostTemplate }), nodeName: "node-1" });
    await until("it is refused", () => said("hosts/node-1 has an agent already"));
    const again = system.agent("reinstalled", { token: await system.joinToken({ hostTemplate, replaceOffline: true }), nodeName: "node-1", executor: system.machine("take") });
    expect(await again.host).toBe("hosts/node-1");
    await until("it is online", () => online("node-1"));
  });

  it.each([
    ["a storage host that waits for its agent", "give", () => Promise.resolve()],
    ["a node that a person added", "take", () => Promise.resolve()],
    ["a storage host whose agent is offline", "give", async () => {
      const { agent } = await joined("give");
      await agent.stop();
      await until("give is offline", async () => !(await online("give")));
    }],
    ["a storage host that another template made", "store-1", async () => {
      const agent = await joinedNode("store-1", ["HOST_ROLE_INITIATOR", "HOST_ROLE_TARGET"]);
      await agent.stop();
      await until("it is offline", async () => !(await online("store-1")));
    }],
  ])("a token for nodes does not take %s", async (_what, nodeName, prepare) => {
    await prepare();
    for (const replaceOffline of [false, true]) {
      system.agent(`thief ${replaceOffline}`, { token: await system.joinToken({ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"] }, replaceOffline }), nodeName });
    }
    await until("it is refused", () => said(`hosts/${nodeName} cannot be taken with a join token for nodes`));
    expect(await online(nodeName)).toBe(false);
  });

  it("lets no more nodes in than the token says when they come at once", async () => {
    const joinToken = await system.joinToken({ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"] }, maxUses: 3 });
    const enrol = async (at: number): Promise<boolean> => {
      const credentialSha256 = createHash("sha256").update(String(at)).digest("hex");
      return system.service.call("AgentService/Enrol", { joinToken, credentialSha256, nodeName: `node-${at}` }).then(() => true, () => false);
    };
    const answers = await Promise.all(Array.from({ length: 50 }, (_, at) => enrol(at)));
    expect(answers.filter(Boolean)).toHaveLength(3);
    const { hosts } = await call("ListHosts", {});
    expect((hosts as Json[]).filter(({ name }) => String(name).startsWith("hosts/node-"))).toHaveLength(3);
  });

  it("lets one of two in that come for one host at once", async () => {
    const joinToken = await system.joinToken({ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"] } });
    const enrol = async (at: number): Promise<boolean> => {
      const credentialSha256 = createHash("sha256").update(String(at)).digest("hex");
      return system.service.call("AgentService/Enrol", { joinToken, credentialSha256, nodeName: "node-1" }).then(() => true, () => false);
    };
    const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => enrol(at)));
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  it.each([
    [{}, "host"],
    [{ host: "hosts/give", hostTemplate: { roles: ["HOST_ROLE_TARGET"] } }, "host_template"],
    [{ host: "hosts/give", maxUses: 2 }, "max_uses"],
    [{ host: "hosts/give", lifetimeSeconds: -1 }, "lifetime_seconds"],
    [{ host: "hosts/give", nodeNamePattern: "x" }, "node_name_pattern"],
    [{ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"], ssh: { address: "a" } } }, "host_template.ssh"],
    [{ hostTemplate: { roles: [] } }, "host_template.roles"],
    [{ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"] }, nodeNamePattern: "a b" }, "node_name_pattern"],
    [{ hostTemplate: { roles: ["HOST_ROLE_INITIATOR"] }, nodeNamePattern: "*a*a*a*a*a*a*a*a*b" }, "node_name_pattern"],
  ])("refuses to make a token of %j", async (request, field) => {
    await expect(call("CreateJoinToken", request)).rejects.toThrow(`invalid_argument: ${field}:`);
  });

  it("lists tokens without their secrets, and stores none", async () => {
    const secret = await system.joinToken({ host: "hosts/give" });
    const { joinTokens } = await call("ListJoinTokens", {});
    expect(joinTokens).toMatchObject([{ host: "hosts/give", maxUses: 1 }]);
    expect(JSON.stringify(joinTokens)).not.toContain(secret);
    const { agent } = await joined("take");
    await agent.stop();
    const stored = await Promise.all(["zfsilo.db", "zfsilo.db-wal"].map((name) => readFile(join(system.service.dataDir, name), "latin1")));
    const credentials = system.lines.join("");
    expect(stored.join("").includes(secret)).toBe(false);
    expect(credentials).not.toMatch(/z[jc]_[A-Za-z0-9_-]{20}/);
  });
});

describe("a credential", () => {
  it("is replaced by rotation, and the one before opens nothing", async () => {
    const { agent, executor } = await joined("give");
    const before = await copyOf("give");
    expect((await call("RotateAgentCredential", { name: "hosts/give" }))["host"]).toMatchObject({ state: "HOST_STATE_ONLINE" });
    await agent.stop();
    system.agent("copy", { credentialFile: await before("copy") });
    await until("the copy is refused", () => said("this stream needs the credential of an enrolled agent"));
    expect(await online("give")).toBe(false);
    system.agent("give", { executor });
    await until("give is online", () => online("give"));
  });

  it("opens nothing once it is revoked, and its stream ends", async () => {
    const { agent } = await joined("give");
    await call("RevokeAgent", { name: "hosts/give" });
    await until("give is offline", async () => !(await online("give")));
    await until("it is refused", () => said("this stream needs the credential of an enrolled agent"));
    expect(agent.connected).toBe(false);
    expect((await system.host("give"))["agentStatus"]).toMatchObject({ revokeTime: expect.any(String) as string });
    await expect(call("RevokeAgent", { name: "hosts/take" })).rejects.toThrow("failed_precondition: hosts/take has no agent");
  });

  it("of a revoked agent is no way back in with a token for any node", async () => {
    const hostTemplate = { roles: ["HOST_ROLE_INITIATOR"] };
    const token = await system.joinToken({ hostTemplate, replaceOffline: true });
    const agent = system.agent("node", { token });
    await agent.host;
    await until("node is online", () => online("node"));
    await call("RevokeAgent", { name: "hosts/node" });
    await until("it is refused", () => said("the agent of hosts/node was revoked"));
    expect(await online("node")).toBe(false);
  });

  it("of another host is told by the name beside it, and shown", async () => {
    const { agent } = await joined("give");
    await agent.stop();
    const file = await (await copyOf("give"))("forged", (identity) => ({ ...identity, host: "hosts/take" }));
    system.agent("forged", { credentialFile: file });
    await until("it is refused", () => said("its credential is that of another host"));
    await until("it is shown", async () => JSON.stringify(await system.host("give")).includes("AGENT_IDENTITY_MISMATCH"));
    expect(await online("take")).toBe(false);
  });

  it("in two places at once serves the first, and is shown", async () => {
    await joined("give");
    system.agent("copy", { credentialFile: await (await copyOf("give"))("copy") });
    await until("the copy is refused", () => said("is served by another agent, which is alive"));
    await until("it is shown", async () => JSON.stringify(await system.host("give")).includes("AGENT_CONTESTED"));
    expect(await online("give")).toBe(true);
    await call("RotateAgentCredential", { name: "hosts/give" });
    expect((await system.host("give"))["agentStatus"]).not.toHaveProperty("problem");
  });

  it("opens no other service, and an API token no stream", async () => {
    await joined("give");
    const { credential } = JSON.parse(await readFile(await (await copyOf("give"))("shown"), "utf8")) as { credential: string };
    const url = `http://127.0.0.1:${system.cable.port}`;
    const answer = await fetch(`${url}/zfsilo.v1.HostService/ListHosts`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${credential}` },
      body: "{}",
    });
    expect(answer.status).toBe(401);
    const admin = (await readFile(system.service.plane.adminTokenFile, "utf8")).trim();
    system.agent("admin", { credentialFile: await (await copyOf("give"))("admin", (identity) => ({ ...identity, credential: admin })) });
    await until("it is refused", () => said("this stream needs the credential of an enrolled agent"));
  });

  /** Copies an agent's credential file, perhaps changed. */
  async function copyOf(name: string) {
    const directory = system.service.dataDir;
    const original = JSON.parse(await readFile(system.credentialFile(name), "utf8")) as Json;
    return async (to: string, change: (identity: Json) => Json = (identity) => identity): Promise<string> => {
      const file = join(directory, `${to}.credential`);
      await writeFile(file, JSON.stringify(change(original)), { mode: 0o600 });
      return file;
    };
  }
});

describe("a host that an agent serves", () => {
  it("refuses what the policy refuses, with a reason that says so", async () => {
    await joined("give");
    // The host's record allows /mnt, the agent's own list does not.
    await joined("take", { allowedRoots: ["/srv"] });
    await system.service.volume("v", "connected");
    const refused = system.service.call("VolumeService/StageVolume", { name: "volumes/v", host: "hosts/take", stagingPath: "/mnt/v" });
    await expect(refused).rejects.toThrow(/^permission_denied: /);
    expect(said("the agent's policy does not allow it")).toBe(true);
  });

  it("is offline while its agent is away, and says so to whoever needs it", async () => {
    const { agent } = await joined("give");
    await agent.stop();
    await until("give is offline", async () => !(await online("give")));
    const refused = system.service.call("VolumeService/CreateVolume", { volumeId: "v", volume: { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true } });
    await expect(refused).rejects.toThrow(/unavailable: .*its agent is not connected/);
  });

  it("loses its stream when it is deleted", async () => {
    const { agent } = await joined("take");
    await call("DeleteHost", { name: "hosts/take" });
    await until("the agent is away", () => !agent.connected);
    await until("it is refused", () => said("this stream needs the credential of an enrolled agent"));
  });
});
