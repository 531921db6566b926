import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parsePoolName } from "@zfsilo/host";
import { bytes, parseHostId } from "@zfsilo/lib";
import type { PoolLook } from "../../src/machines/pool-probe.ts";
import { attachmentRecord, volumeRecord } from "../../src/store/store-fixtures.ts";
import { callJson, runningApi, type JsonAnswer, type RunningApi } from "./running-api.ts";

let api: RunningApi;
beforeEach(async () => {
  api = await runningApi();
});
afterEach(() => api[Symbol.asyncDispose]());

const call = (method: string, message: object): Promise<JsonAnswer> => callJson(api, method, message);
const give = {
  hostId: "hst_give",
  host: {
    roles: ["HOST_ROLE_TARGET", "HOST_ROLE_INITIATOR"],
    simulated: {},
    pools: [{ name: "tank" }],
    portals: [{ address: "127.0.0.1" }],
  },
};

function errorInfo({ body }: JsonAnswer): { reason: string; metadata: Record<string, string> } {
  const details = body["details"] as { type: string; debug: { reason: string; metadata: Record<string, string> } }[];
  return details.find(({ type }) => type === "google.rpc.ErrorInfo")!.debug;
}

describe("hosts over Connect JSON", () => {
  it("are created, changed by mask, and deleted", async () => {
    const created = await call("HostService/CreateHost", give);
    expect(created.status).toBe(200);
    expect(created.body["host"]).toMatchObject({
      name: "hosts/hst_give",
      pools: [{ name: "tank", parentDataset: "tank/zfsilo" }],
      portals: [{ address: "127.0.0.1", port: 3260 }],
      revision: "1",
    });
    expect((await call("HostService/CreateHost", give)).status).toBe(409);

    const change = { host: { name: "hosts/hst_give", displayName: "Give", labels: { a: "b" }, revision: "1" }, updateMask: "displayName,labels" };
    const updated = await call("HostService/UpdateHost", change);
    expect(updated.body["host"]).toMatchObject({ displayName: "Give", labels: { a: "b" }, revision: "2", portals: [{ address: "127.0.0.1", port: 3260 }] });
    const stale = await call("HostService/UpdateHost", change);
    expect(stale.body["code"]).toBe("aborted");
    expect(errorInfo(stale)).toMatchObject({ reason: "REVISION_MISMATCH", metadata: { revision: "2" } });

    const cleared = await call("HostService/UpdateHost", { host: { name: "hosts/hst_give" }, updateMask: "labels" });
    expect((cleared.body["host"] as Record<string, unknown>)["labels"]).toBeUndefined();
    expect((await call("HostService/DeleteHost", { name: "hosts/hst_give" })).status).toBe(200);
    expect((await call("HostService/DeleteHost", { name: "hosts/hst_give" })).body["code"]).toBe("not_found");
  });

  it("stay while volumes need them", async () => {
    await call("HostService/CreateHost", give);
    await call("HostService/CreateHost", { hostId: "hst_take", host: { roles: ["HOST_ROLE_INITIATOR"], simulated: {} } });
    await api.stores.volumes.insert(volumeRecord("vol_a", { hostId: parseHostId("hst_give") }));
    await api.stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_take"));
    for (const name of ["hosts/hst_give", "hosts/hst_take"]) {
      const refused = await call("HostService/DeleteHost", { name });
      expect(refused.body["code"]).toBe("failed_precondition");
      expect(errorInfo(refused).reason).toBe("HOST_IN_USE");
      expect((await call("HostService/GetHost", { name })).status).toBe(200);
    }
  });

  it.each([
    ["HostService/CreateHost", { hostId: "Bad Id", host: give.host }, "host_id"],
    ["HostService/CreateHost", { host: { ...give.host, revision: "7" } }, "host.revision"],
    ["HostService/CreateHost", {}, "host.connection"],
    ["HostService/UpdateHost", { host: { name: "hosts/hst_give" }, updateMask: "roles" }, "update_mask"],
    ["HostService/UpdateHost", { host: { name: "hosts/hst_give" } }, "update_mask"],
    ["HostService/GetHost", {}, "name"],
    ["HostService/GetHost", { name: "volumes/vol_a" }, "name"],
    ["HostService/GetHost", { name: "hosts/../etc" }, "name"],
    ["HostService/ListHosts", { filter: "colour = red" }, "filter"],
    ["HostService/ListHosts", { orderBy: "colour" }, "order_by"],
    ["HostService/ListHosts", { pageToken: "forged" }, "page_token"],
    ["HostService/ListHosts", { pageSize: -1 }, "page_size"],
    ["OperationService/GetOperation", { name: "operations/" }, "name"],
    ["OperationService/ListOperations", { filter: "state = MAYBE" }, "filter"],
    ["Service/GetCapacity", { pool: "-x" }, "pool"],
    ["Service/GetCapacity", { host: "give" }, "host"],
    ["Service/GetCapacity", { volblocksizeBytes: "3000" }, 'volblocksize_bytes["volblocksize"]'],
    ["Service/GetCapacity", { host: "hosts/hst_give", parentDataset: "tank/other" }, "parent_dataset"],
    ["PoolService/GetPool", {}, "name"],
    ["PoolService/GetPool", { name: "hosts/hst_give" }, "name"],
    ["PoolService/ListPools", { parent: "pools/tank" }, "parent"],
    ["HostService/UpdateHost", { host: { name: "hosts/hst_give", pools: [{ name: "tank", overcommitRatio: 0.01 }] }, updateMask: "pools" }, "host.pools[0].overcommit_ratio"],
    ["HostService/UpdateHost", { host: { name: "hosts/hst_give", pools: [{ name: "tank", quotaBytes: "-1" }] }, updateMask: "pools" }, "host.pools[0].quota_bytes"],
    ["HostService/UpdateHost", { host: { name: "hosts/hst_give", pools: [{ name: "tank" }, { name: "tank" }] }, updateMask: "pools" }, "host.pools[1]"],
    [
      "HostService/UpdateHost",
      { host: { name: "hosts/hst_give", pools: [{ name: "tank" }, { name: "tank", parentDataset: "tank/zfsilo/a" }] }, updateMask: "pools" },
      "host.pools[1].parent_dataset",
    ],
  ])("%s refuses %j naming %s", async (method, message, field) => {
    await call("HostService/CreateHost", give);
    const before = await call("HostService/ListHosts", {});
    const refused = await call(method, message);
    expect(refused.status).toBe(400);
    expect(refused.body["code"]).toBe("invalid_argument");
    expect(errorInfo(refused)).toMatchObject({ reason: "INVALID_ARGUMENT", metadata: { field } });
    expect((await call("HostService/ListHosts", {})).body).toEqual(before.body);
  });

  it("are checked through the probe", async () => {
    await call("HostService/CreateHost", give);
    api.ports.probe = {
      check: () =>
        Promise.resolve([
          { name: "tool/zfs", state: "ok", observed: "zfs-2.1.11", remedy: "" },
          { name: "module/iscsi_target_mod", state: "failed", observed: "not loaded", remedy: "modprobe iscsi_target_mod" },
        ]),
    };
    const { body } = await call("HostService/CheckHost", { name: "hosts/hst_give" });
    expect(body["ready"]).toBeUndefined();
    expect(body["checks"]).toMatchObject([{ state: "CHECK_STATE_OK" }, { state: "CHECK_STATE_FAILED", remedy: "modprobe iscsi_target_mod" }]);
  });
});

describe("capacity", () => {
  it("adds up what can be read, and shows what cannot", async () => {
    await call("HostService/CreateHost", give);
    await call("HostService/CreateHost", { ...give, hostId: "hst_down" });
    await call("HostService/CreateHost", { hostId: "hst_take", host: { roles: ["HOST_ROLE_INITIATOR"], simulated: {} } });
    const huge = 2n ** 62n;
    const space = { type: "filesystem", availableBytes: bytes(huge), usedBytes: bytes(1), referencedBytes: bytes(1), quotaBytes: bytes(0), reservationBytes: bytes(0) };
    const facts = { name: parsePoolName("tank"), guid: "1", sizeBytes: bytes(huge), allocatedBytes: bytes(1), freeBytes: bytes(huge), fragmentationPercent: 0, health: "ONLINE", readonly: false, ashift: 0 };
    const look: PoolLook = { name: "tank", facts, layout: { stripes: [], ashift: 0 }, spaces: new Map([["tank", space]]) };
    api.ports.pools = {
      ...api.ports.pools,
      look: (host) => (host.id === "hst_down" ? Promise.reject(new Error("no route to host")) : Promise.resolve([look])),
    };
    const { body } = await call("Service/GetCapacity", {});
    expect(body["availableBytes"]).toBe(String(huge));
    expect(body["pools"]).toMatchObject([
      { host: "hosts/hst_down", pool: "tank", health: "UNREACHABLE" },
      { host: "hosts/hst_give", pool: "tank", availableBytes: String(huge), health: "ONLINE" },
    ]);
    expect(body["maximumVolumeBytes"]).toBeDefined();
    expect((await call("Service/GetCapacity", { hostLabels: { zone: "none" } })).body["pools"]).toBeUndefined();
    expect((await call("Service/GetCapacity", { host: "hosts/hst_give", pool: "tank" })).body["pools"]).toHaveLength(1);
    expect(errorInfo(await call("Service/GetCapacity", { host: "hosts/hst_give", pool: "other" })).metadata["field"]).toBe("pool");
    expect(errorInfo(await call("Service/GetCapacity", { host: "hosts/hst_take" })).metadata["field"]).toBe("host");
    expect((await call("Service/GetCapacity", { host: "hosts/hst_none" })).body["code"]).toBe("not_found");
  });
});
