import { parseGroupSnapshotId, parseSnapshotId } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "./database.ts";
import type { GroupSnapshotRecord } from "./model.ts";
import { listQuery } from "./query/list-query.ts";
import { PageTokens } from "./query/page-token.ts";
import { groupSnapshots, readySnapshots } from "./snapshot-list.ts";
import { hostRecord, silent, snapshotRecord, temporaryStores, volumeRecord, type TemporaryStores } from "./store-fixtures.ts";

let stores: TemporaryStores;
beforeEach(async () => {
  stores = await temporaryStores();
  await stores.hosts.insert(hostRecord("hst_give"));
});
afterEach(() => stores[Symbol.asyncDispose]());

const page = { pageSize: 10, pageToken: "", filter: "", orderBy: "" };
const snap = parseSnapshotId;
const { hostId, dataset } = snapshotRecord("snap_any");

function group(id: string, snapshots: readonly string[], over: Partial<GroupSnapshotRecord> = {}): GroupSnapshotRecord {
  return {
    id: parseGroupSnapshotId(id),
    displayName: "",
    labels: {},
    consistency: "crash",
    hostId,
    volumeIds: [],
    snapshotIds: snapshots.map(snap),
    state: "ready",
    requestFingerprint: "f",
    createdAt: new Date("2026-01-31T12:00:00.000Z"),
    ...over,
  };
}

describe("snapshots", () => {
  it("come back as they were put in", async () => {
    const whole = snapshotRecord("snap_a", {
      labels: { team: "db" },
      consistency: "filesystem",
      capacityBytes: 2n ** 62n + 1n,
      content: { mode: "filesystem", filesystem: volumeRecord("vol_a").filesystem, zfsOptions: { sync: "always" }, volblocksize: "16384" },
      space: { usedBytes: 2n ** 60n + 1n, referencedBytes: 2n, writtenBytes: 3n, observedAt: new Date("2026-02-01T00:00:00.000Z") },
      holds: ["backup"],
      condition: { reason: "SNAPSHOT_MISSING", message: "gone", observedAt: new Date("2026-02-01T00:00:00.000Z") },
    });
    await stores.snapshots.insert([whole]);
    await stores.reopen();
    expect(await stores.snapshots.get(whole.id)).toEqual(whole);
    expect(await stores.snapshots.countByCondition()).toEqual({ SNAPSHOT_MISSING: 1 });
  });

  it("clear what a change clears, and keep what it does not name", async () => {
    await stores.snapshots.insert([snapshotRecord("snap_a", { holds: ["backup"], labels: { team: "db" } })]);
    await stores.snapshots.update(snap("snap_a"), { holds: [] });
    expect(await stores.snapshots.get(snap("snap_a"))).toMatchObject({ holds: [], labels: { team: "db" }, revision: 2 });
    await expect(stores.snapshots.update(snap("snap_none"), {})).rejects.toMatchObject({ reason: "not_found" });
    await stores.snapshots.updateAll(new Map([[snap("snap_none"), { holds: [] }], [snap("snap_a"), { holds: ["b"] }]]));
    expect(await stores.snapshots.get(snap("snap_a"))).toMatchObject({ holds: ["b"] });
  });

  it("are refused when the id or the name on the host is taken, and none of several is kept then", async () => {
    const first = snapshotRecord("snap_a");
    await stores.snapshots.insert([first]);
    await expect(stores.snapshots.insert([snapshotRecord("snap_b"), snapshotRecord("snap_a")])).rejects.toMatchObject({ reason: "already_exists" });
    await expect(stores.snapshots.insert([snapshotRecord("snap_b", { handle: first.handle })])).rejects.toMatchObject({ reason: "already_exists" });
    expect(await stores.snapshots.find(snap("snap_b"))).toBeUndefined();
  });

  it("of one zvol come in the order in which they were taken, those being taken last", async () => {
    await stores.snapshots.insert([
      snapshotRecord("snap_new", { createTxg: "", state: "creating" }),
      snapshotRecord("snap_b", { createTxg: "9" }),
      snapshotRecord("snap_a", { createTxg: "10" }),
      snapshotRecord("snap_other", { dataset: "tank/zfsilo/other" }),
    ]);
    expect((await stores.snapshots.ofDataset(hostId, dataset)).map(({ id }) => id)).toEqual(["snap_b", "snap_a", "snap_new"]);
  });

  it("that are tombstoned are listed when asked for, those being made never", async () => {
    await stores.snapshots.insert([
      snapshotRecord("snap_a"),
      snapshotRecord("snap_b", { state: "tombstoned" }),
      snapshotRecord("snap_c", { state: "creating" }),
    ]);
    const ids = async (tombstoned: boolean): Promise<string> => (await stores.snapshots.list(page, tombstoned)).items.map(({ id }) => id).join();
    expect(await ids(false)).toBe("snap_a");
    expect(await ids(true)).toBe("snap_a,snap_b");
    const { nextPageToken } = await stores.snapshots.list({ ...page, pageSize: 1 }, true);
    await expect(stores.snapshots.list({ ...page, pageToken: nextPageToken }, false)).rejects.toMatchObject({ reason: "invalid_argument" });
    const seen: string[] = [];
    for await (const { id } of stores.snapshots.each()) seen.push(id);
    expect(seen).toEqual(["snap_a", "snap_b"]);
    const named: string[] = [];
    for await (const { id } of stores.snapshots.identities()) named.push(id);
    expect(named).toEqual(["snap_a", "snap_b", "snap_c"]);
  });

  it("know their clones", async () => {
    await stores.snapshots.insert([snapshotRecord("snap_a"), snapshotRecord("snap_b")]);
    for (const id of ["vol_2", "vol_1"]) await stores.volumes.insert(volumeRecord(id, { origin: snap("snap_a"), dataset: `tank/zfsilo/${id}` }));
    expect(await stores.volumes.clonesOf([snap("snap_a"), snap("snap_b")])).toEqual(new Map([["snap_a", ["vol_1", "vol_2"]]]));
    expect((await stores.volumes.list({ ...page, filter: "origin = snapshots/snap_a" })).items).toHaveLength(2);
  });
});

describe("groups", () => {
  it("come and go with their snapshots", async () => {
    const made = group("grp_a", ["snap_a", "snap_b"], { labels: { team: "db" } });
    const members = ["snap_a", "snap_b"].map((id) => snapshotRecord(id, { groupId: made.id }));
    await stores.groups.insert(made, members);
    expect(await stores.groups.get(made.id)).toEqual(made);
    expect((await stores.snapshots.list({ ...page, filter: "group_snapshot = groupSnapshots/grp_a" }, false)).items).toEqual(members);
    await stores.groups.remove(made.id);
    expect(await stores.groups.find(made.id)).toBeUndefined();
    expect(await stores.snapshots.find(snap("snap_a"))).toBeUndefined();
  });

  it("are not recorded at all when one of their snapshots cannot be", async () => {
    await stores.snapshots.insert([snapshotRecord("snap_b")]);
    const made = group("grp_a", ["snap_a", "snap_b"]);
    const refused = stores.groups.insert(made, [snapshotRecord("snap_a"), snapshotRecord("snap_b")]);
    await expect(refused).rejects.toMatchObject({ reason: "already_exists" });
    expect(await stores.groups.find(made.id)).toBeUndefined();
    expect(await stores.snapshots.find(snap("snap_a"))).toBeUndefined();
  });

  it("being made are not listed", async () => {
    await stores.groups.insert(group("grp_a", ["snap_a"], { state: "creating" }), [snapshotRecord("snap_a")]);
    expect((await stores.groups.list(page)).items).toEqual([]);
    await stores.groups.update(parseGroupSnapshotId("grp_a"), { state: "ready" });
    expect((await stores.groups.list({ ...page, filter: "host = hosts/hst_give" })).items).toHaveLength(1);
  });
});

describe("pages", () => {
  it.each([
    ["name", "", /SEARCH snapshots USING INDEX sqlite_autoindex_snapshots_1 \(id>\?\)/],
    ["create_time desc", "", /SEARCH snapshots USING INDEX snapshots_created_at \(\(created_at,id\)</],
    ["capacity_bytes", "", /SEARCH snapshots USING INDEX snapshots_capacity \(\(capacity,id\)>/],
    ["name", "volume = volumes/vol_a", /SEARCH snapshots USING INDEX snapshots_volume \(volume_id=\? AND id>\?\)/],
    ["create_time", "volume = volumes/vol_a", /SEARCH snapshots USING INDEX snapshots_volume_created_at \(volume_id=\? AND \(created_at,id\)>/],
  ])("walk an index by %s %s, so that the last of thousands costs what the first does", async (orderBy, filter, search) => {
    await stores.snapshots.insert(["snap_a", "snap_b"].map((id) => snapshotRecord(id)));
    const tokens = new PageTokens(stores.key.derive("page-tokens"));
    const { nextPageToken } = await stores.snapshots.list({ pageSize: 1, pageToken: "", filter, orderBy }, false);
    const { sql, parameters } = listQuery(readySnapshots, { pageSize: 1, pageToken: nextPageToken, filter, orderBy }, tokens);
    const database = await openDatabase({ file: stores.file, log: silent });
    try {
      const plan = await database.read<{ detail: string }>(`explain query plan ${sql}`, parameters);
      expect(plan.map(({ detail }) => detail)).toEqual([expect.stringMatching(search) as string]);
    } finally {
      await database.close();
    }
  });

  it("of groups take the orders they offer", () => {
    const tokens = new PageTokens(stores.key.derive("page-tokens"));
    const { sql } = listQuery(groupSnapshots, { ...page, orderBy: "create_time desc" }, tokens);
    expect(sql).toContain("order by created_at desc, id desc");
  });
});
