import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";

const parse = (content: unknown, env: Record<string, string> = {}) => parseConfig(env, { name: "zfsilo.json", text: JSON.stringify(content) });
const hash = "a".repeat(64);

describe("the configuration", () => {
  it("needs nothing", () => {
    expect(parseConfig({}, undefined)).toEqual({
      listen: "127.0.0.1:8080",
      tls: undefined,
      allowPlaintext: false,
      dataDir: "./.zfsilo",
      logLevel: "info",
      tokens: [],
      clusterId: undefined,
      iqnPrefix: "iqn.2026-01.io.zfsilo",
      keyRoots: ["/etc/zfsilo/keys"],
      operations: { retentionDays: 30 },
      reconcile: { intervalSeconds: 60 },
      waitForLease: false,
      newInstallation: false,
      hosts: undefined,
    });
  });

  it("takes the file, and the environment over it", () => {
    const file = { listen: "0.0.0.0:1", dataDir: "/var/lib/zfsilo", logLevel: "debug", tokens: [{ name: "ci", sha256: hash }], hosts: [] };
    expect(parse(file)).toMatchObject({ ...file, hosts: [] });
    const env = { ZFSILO_LISTEN: "[::1]:2", ZFSILO_DATA_DIR: "/d", ZFSILO_LOG_LEVEL: "warn" };
    expect(parse(file, env)).toMatchObject({ listen: "[::1]:2", dataDir: "/d", logLevel: "warn", tokens: file.tokens });
  });

  it("fills in what hosts leave out", () => {
    const hosts = [
      { id: "hst_give", roles: ["target"], ssh: { address: "10.9.0.2", knownHostsFile: "/etc/zfsilo/known_hosts" }, pools: [{ name: "tank" }], portals: [{ address: "fd00:0::1" }] },
      { id: "hst_take", roles: ["initiator"], simulated: {} },
    ];
    expect(parse({ hosts }).hosts).toMatchObject([
      {
        id: "hst_give",
        connection: { kind: "ssh", address: "10.9.0.2", port: 22, user: "root", privateKeyFile: "", knownHostsFile: "/etc/zfsilo/known_hosts" },
        pools: [{ name: "tank", parentDataset: "tank/zfsilo" }],
        portals: [{ address: "fd00::1", port: 3260 }],
        allowedRoots: [],
      },
      { id: "hst_take", connection: { kind: "simulated" }, allowedRoots: ["/var/lib/kubelet", "/mnt", "/srv", "/media"] },
    ]);
  });

  const host = { id: "h", roles: ["target"], local: {} };
  it.each([
    [{ listne: "x" }, /zfsilo\.json: .*listne/],
    [{ logLevel: "loud" }, /logLevel: /],
    [{ tokens: [{ name: "x", sha256: "abc" }] }, /tokens\[0\]\.sha256: .*sha256sum/],
    [{ tokens: [{ name: "x", sha256: hash, token: "clear" }] }, /tokens\[0\]: .*token/],
    [{ operations: { retentionDays: 0 } }, /operations\.retentionDays/],
    [{ iqnPrefix: "IQN.x" }, /iqnPrefix: write iqn/],
    [{ clusterId: "Not An Id" }, /clusterId/],
    [{ hosts: [{ ...host, simulated: {} }] }, /hosts\[0\]: set exactly one of local, ssh, agent, simulated/],
    [{ hosts: [{ id: "h", roles: ["target"] }] }, /hosts\[0\]: set exactly one/],
    [{ hosts: [{ ...host, roles: ["server"] }] }, /hosts\[0\]\.roles\[0\]/],
    [{ hosts: [{ ...host, roles: [] }] }, /hosts\[0\]\.roles: at least one/],
    [{ hosts: [host, { ...host, portals: [{ address: "give.example" }] }] }, /hosts\[1\]\.portals\[0\]\.address: is not an IP/],
    [{ hosts: [{ ...host, pools: [{ name: "tank", parentDataset: "other/x" }] }] }, /hosts\[0\]\.pools\[0\]\.parentDataset|parent_dataset/],
    [{ hosts: [{ id: "h", roles: ["target"], ssh: { address: "-oProxyCommand=x", knownHostsFile: "/k" } }] }, /hosts\[0\]\.ssh\.address/],
    ["text", /the file: /],
  ])("%j is refused with the key", (content, message) => {
    expect(() => parse(content)).toThrow(message);
  });

  it("names the file that is not JSON, and the variable that is wrong", () => {
    expect(() => parseConfig({}, { name: "zfsilo.json", text: "{" })).toThrow("zfsilo.json is not JSON");
    expect(() => parseConfig({ ZFSILO_LOG_LEVEL: "loud" }, undefined)).toThrow("ZFSILO_LOG_LEVEL");
  });
});
