import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CreateHostRequestSchema, HostRole, UpdateHostRequestSchema } from "@zfsilo/api";
import { describe, expect, it } from "vitest";
import { hostRecord } from "../store/store-fixtures.ts";
import { hostToMessage } from "./convert/host.ts";
import { parseCreateHost, parseUpdateHost } from "./host-input.ts";

type HostInit = Extract<MessageInitShape<typeof CreateHostRequestSchema>["host"], { roles?: unknown }>;
const target = { roles: [HostRole.TARGET], connection: { case: "local", value: {} } } as const;
const initiator = { ...target, roles: [HostRole.INITIATOR] } as const;
const ssh = (value: object): object => ({ connection: { case: "ssh", value: { address: "10.0.0.1", knownHostsFile: "/k", ...value } } });

const parse = (host: object, hostId = "hst_a") => parseCreateHost(create(CreateHostRequestSchema, { hostId, host: { ...target, ...host } as unknown as HostInit }));

describe("a new host", () => {
  it("gets an id and defaults", () => {
    const host = parse({ roles: [HostRole.TARGET, HostRole.INITIATOR], pools: [{ name: "tank" }], portals: [{ address: "::1" }], ...ssh({}) }, "");
    expect(host.id).toMatch(/^hst_[a-z2-7]{16}$/);
    expect(host).toMatchObject({
      roles: ["initiator", "target"],
      connection: { kind: "ssh", address: "10.0.0.1", port: 22, user: "root", privateKeyFile: "", knownHostsFile: "/k" },
      pools: [{ name: "tank", parentDataset: "tank/zfsilo" }],
      portals: [{ address: "::1", port: 3260 }],
      allowedRoots: ["/var/lib/kubelet", "/mnt", "/srv", "/media"],
      revision: 1,
    });
  });

  const many = (count: number): object[] => Array.from({ length: count }, (_, index) => ({ address: `10.0.0.${index}` }));
  it.each<[string, object]>([
    ["host.name", { name: "hosts/hst_a" }],
    ["host.revision", { revision: 1n }],
    ["host.condition", { condition: { abnormal: true } }],
    ["host.create_time", { createTime: {} }],
    ["host.roles", { roles: [] }],
    ["host.roles[0]", { roles: [HostRole.UNSPECIFIED] }],
    ["host.roles[1]", { roles: [HostRole.TARGET, 99] }],
    ["host.connection", { connection: { case: undefined } }],
    ["host.display_name", { displayName: "x".repeat(257) }],
    ["host.display_name", { displayName: "a\nb" }],
    ["host.labels", { labels: { "bad key": "x" } }],
    ["host.labels", { labels: { "": "x" } }],
    ["host.labels", { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, ""])) }],
    ["host.labels.k", { labels: { k: "x".repeat(257) } }],
    ["host.labels.k", { labels: { k: "a\u0000" } }],
    ["host.pools[0].name", { pools: [{ name: "-rf" }] }],
    ["host.pools[0].name", { pools: [{ name: "" }] }],
    ["host.pools[0].name", { pools: [{ name: "mirror1" }] }],
    ["host.pools[0].parent_dataset", { pools: [{ name: "tank", parentDataset: "tank/../x" }] }],
    ["host.pools[0].parent_dataset", { pools: [{ name: "tank", parentDataset: "other/zfsilo" }] }],
    ["host.pools[1]", { pools: [{ name: "tank" }, { name: "tank" }] }],
    ["host.portals[0].address", { portals: [{ address: "give.example" }] }],
    ["host.portals[0].address", { portals: [{ address: "127.0.0.1; reboot" }] }],
    ["host.portals[0].port", { portals: [{ address: "127.0.0.1", port: 65536 }] }],
    ["host.portals[0].port", { portals: [{ address: "127.0.0.1", port: -1 }] }],
    ["host.portals[1]", { portals: [{ address: "::1" }, { address: "0:0::1", port: 3260 }] }],
    ["host.portals", { portals: many(65) }],
    ["host.initiator_iqn", { initiatorIqn: "iqn.2026-01.io.zfsilo:x" }],
    ["host.initiator_iqn", { ...initiator, initiatorIqn: "not an iqn" }],
    ["host.pools", { ...initiator, pools: [{ name: "tank" }] }],
    ["host.portals", { ...initiator, portals: [{ address: "::1" }] }],
    ["host.allowed_roots[0]", { ...initiator, allowedRoots: ["mnt"] }],
    ["host.allowed_roots[0]", { ...initiator, allowedRoots: ["/mnt/../etc"] }],
    ["host.allowed_roots[0]", { ...initiator, allowedRoots: ["/"] }],
    ["host.allowed_roots[1]", { ...initiator, allowedRoots: ["/mnt", "/mnt"] }],
    ["host.ssh.address", ssh({ address: "" })],
    ["host.ssh.address", ssh({ address: "-oProxyCommand=reboot" })],
    ["host.ssh.port", ssh({ port: 70000 })],
    ["host.ssh.user", ssh({ user: "root; reboot" })],
    ["host.ssh.known_hosts_file", ssh({ knownHostsFile: "" })],
    ["host.ssh.private_key_file", ssh({ privateKeyFile: "key" })],
  ])("is refused for its %s (%o)", (field, host) => {
    expect(() => parse(host)).toThrow(expect.objectContaining({ reason: "invalid_argument", details: { field } }));
  });

  it.each(["HST", "1a", "a b", "a".repeat(64), "a/b", "-a"])("is refused for the id %j", (hostId) => {
    expect(() => parse({}, hostId)).toThrow(expect.objectContaining({ details: { field: "host_id" } }));
  });

  it("is shown as it was given", () => {
    const host = parse({ displayName: "Give", labels: { rack: "1" }, pools: [{ name: "tank" }], portals: [{ address: "10.0.0.1" }] });
    const shown = hostToMessage(host);
    const { name: _name, revision: _revision, createTime: _create, updateTime: _update, $typeName: _type, ...given } = shown;
    expect(parse(given)).toEqual({ ...host, createdAt: expect.any(Date) as Date, updatedAt: expect.any(Date) as Date });
  });
});

describe("a change of a host", () => {
  const current = hostRecord("hst_a", { displayName: "old", labels: { a: "b" } });
  const update = (host: object, ...paths: string[]) =>
    parseUpdateHost(create(UpdateHostRequestSchema, { host: { name: "hosts/hst_a", ...host } as unknown as HostInit, updateMask: { paths } }));

  it("touches what the mask names, clearing included", () => {
    const change = update({ displayName: "new", labels: {} }, "labels").changeOf(current);
    expect(change).toEqual({ labels: {} });
    expect(update({}, "display_name", "portals").changeOf(current)).toEqual({ displayName: "", portals: [] });
    expect(update({ connection: { case: "local", value: {} } }, "local").changeOf(current)).toEqual({ connection: { kind: "local" } });
    expect(update({ revision: 3n }, "labels").revision).toBe(3);
    expect(update({}, "labels").revision).toBeUndefined();
  });

  it.each([
    ["update_mask", {}, []],
    ["update_mask", {}, ["roles"]],
    ["update_mask", {}, ["name"]],
    ["update_mask", {}, ["revision"]],
    ["update_mask", {}, ["labels", "nonsense"]],
    ["update_mask", {}, ["ssh.address"]],
    ["update_mask", {}, ["*"]],
    ["update_mask", {}, ["constructor"]],
    ["host.ssh", {}, ["ssh"]],
    ["host.revision", { revision: -1n }, ["labels"]],
    ["host.name", { name: "volumes/vol_a" }, ["labels"]],
    ["host.name", { name: "" }, ["labels"]],
  ])("is refused for its %s (%o, %o)", (field, host, paths) => {
    expect(() => update(host, ...paths)).toThrow(expect.objectContaining({ reason: "invalid_argument", details: { field } }));
  });

  it("is checked against the host as it is", () => {
    const onlyInitiator = hostRecord("hst_a", { roles: ["initiator"], pools: [], portals: [] });
    expect(() => update({ pools: [{ name: "tank" }] }, "pools").changeOf(onlyInitiator)).toThrow("only a target has pools");
  });
});
