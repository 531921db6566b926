import { parseHostId } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostRecord, temporaryStores, volumeRecord, type TemporaryStores } from "./store-fixtures.ts";
import type { HostChange } from "./stores.ts";

const id = parseHostId("hst_a");
let stores: TemporaryStores;
beforeEach(async () => {
  stores = await temporaryStores();
});
afterEach(() => stores[Symbol.asyncDispose]());

describe("hosts", () => {
  it("come back as they were stored", async () => {
    const ssh = { kind: "ssh", address: "fd00::1", port: 22, user: "root", privateKeyFile: "", knownHostsFile: "/k" } as const;
    const condition = { reason: "UNREACHABLE", message: "no route", observedAt: new Date(5) };
    const host = hostRecord("hst_a", { connection: ssh, labels: { a: "b" }, condition, initiatorIqn: "iqn.2026-01.io:x" });
    await stores.hosts.insert(host);
    await stores.reopen();
    expect(await stores.hosts.get(id)).toEqual(host);
    expect(await stores.hosts.all()).toEqual([host]);
    expect(await stores.hosts.list({ pageSize: 1, pageToken: "", filter: "labels.a = b", orderBy: "create_time desc" })).toEqual({
      items: [host],
      nextPageToken: "",
    });
  });

  it("are taken once", async () => {
    await stores.hosts.insert(hostRecord("hst_a"));
    await expect(stores.hosts.insert(hostRecord("hst_a"))).rejects.toMatchObject({ reason: "already_exists" });
  });

  it("are not_found with their name when absent", async () => {
    await expect(stores.hosts.get(id)).rejects.toMatchObject({ reason: "not_found", details: { host: "hosts/hst_a" } });
    await expect(stores.hosts.update(id, {})).rejects.toMatchObject({ reason: "not_found" });
    await expect(stores.hosts.remove(id)).resolves.toBeUndefined();
  });

  it.each<[string, HostChange]>([
    ["text", { displayName: "" }],
    ["labels", { labels: {} }],
    ["portals", { portals: [] }],
    ["pools", { pools: [] }],
    ["roots", { allowedRoots: [] }],
    ["name", { initiatorIqn: "" }],
    ["condition", { condition: undefined }],
  ])("can have their %s cleared, and nothing else changes", async (_what, change) => {
    const condition = { reason: "R", message: "m", observedAt: new Date(0) };
    const host = hostRecord("hst_a", { displayName: "x", labels: { a: "b" }, initiatorIqn: "iqn.2026-01.io:x", condition });
    await stores.hosts.insert(host);
    const changed = await stores.hosts.update(id, change, 1);
    expect(await stores.hosts.get(id)).toEqual(changed);
    expect(changed).toEqual({ ...host, ...change, revision: 2, updatedAt: changed.updatedAt });
    await expect(stores.hosts.update(id, change, 1)).rejects.toMatchObject({ reason: "aborted" });
  });

  it("stay while a volume lives on them", async () => {
    await stores.hosts.insert(hostRecord("hst_a"));
    await stores.volumes.insert(volumeRecord("vol_a", { hostId: id }));
    await expect(stores.hosts.remove(id)).rejects.toMatchObject({ reason: "precondition", details: { reason: "HOST_IN_USE" } });
    expect(await stores.hosts.find(id)).toBeDefined();
  });
});
