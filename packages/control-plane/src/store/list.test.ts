import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "./database.ts";
import type { VolumeRecord } from "./model.ts";
import { listQuery } from "./query/list-query.ts";
import { PageTokens } from "./query/page-token.ts";
import { volumeList } from "./volume-list.ts";
import { hostRecord, silent, temporaryStores, volumeRecord, type TemporaryStores } from "./store-fixtures.ts";

let stores: TemporaryStores;
beforeEach(async () => {
  stores = await temporaryStores();
  await stores.hosts.insert(hostRecord("hst_give"));
});
afterEach(() => stores[Symbol.asyncDispose]());

async function walk(request: { pageSize: number; filter?: string; orderBy?: string }): Promise<{ pages: number; items: VolumeRecord[] }> {
  const items: VolumeRecord[] = [];
  let pages = 0;
  for (let pageToken = ""; ; ) {
    const page = await stores.volumes.list({ filter: "", orderBy: "", ...request, pageToken });
    items.push(...page.items);
    pages += 1;
    pageToken = page.nextPageToken;
    if (pageToken === "") return { pages, items };
  }
}

const key = {
  name: ({ id }: VolumeRecord) => id as string,
  create_time: ({ createdAt }: VolumeRecord) => createdAt.toISOString(),
  capacity_bytes: ({ capacityBytes }: VolumeRecord) => capacityBytes.toString().padStart(19, "0"),
};

describe("lists", () => {
  it("end a page before it is too large for a gRPC client, and lose nothing", async () => {
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`label-${at}`, "ü".repeat(256)]));
    const names = Array.from({ length: 150 }, (_, at) => `vol_${String(at).padStart(3, "0")}`);
    for (const name of names) await stores.volumes.insert(volumeRecord(name, { labels }));
    const { items, pages } = await walk({ pageSize: 1000 });
    expect(items.map(({ id }) => id)).toEqual(names);
    // 150 times 34 KiB, in pages of 2 MiB.
    expect(pages).toBe(3);
    const { items: first } = await stores.volumes.list({ filter: "", orderBy: "", pageSize: 1000, pageToken: "" });
    expect(Buffer.byteLength(JSON.stringify(first.map(({ labels: of }) => of)))).toBeLessThan(4 << 20);
  });

  it("give each row once, in order, for every order and page size", async () => {
    // Few distinct sizes and times, so that ties are many.
    const sizes = [1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n];
    const all: VolumeRecord[] = [];
    for (let index = 0; index < 60; index += 1) {
      const volume = volumeRecord(`vol_${(index * 7919) % 1000}`, {
        capacityBytes: sizes[(index * 31) % sizes.length]!,
        createdAt: new Date(Date.UTC(2026, 0, 1) + ((index * 17) % 5)),
        sparse: index % 3 === 0,
      });
      all.push(volume);
      await stores.volumes.insert(volume);
    }
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 70 }),
        fc.constantFrom("name", "create_time", "capacity_bytes"),
        fc.boolean(),
        fc.constantFrom("", "sparse = true", "capacity_bytes > 1"),
        async (pageSize, order, descending, filter) => {
          const { items, pages } = await walk({ pageSize, filter, orderBy: `${order}${descending ? " desc" : ""}` });
          const sortKey = (volume: VolumeRecord): string => `${key[order](volume)} ${volume.id}`;
          const expected = all
            .filter(({ sparse, capacityBytes }) => (filter === "sparse = true" ? sparse : filter === "" || capacityBytes > 1n))
            .sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1) * (descending ? -1 : 1));
          expect(items.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
          // No empty page after a last one that is exactly full.
          expect(pages).toBe(Math.max(1, Math.ceil(expected.length / pageSize)));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("neither repeat nor skip what stays while others come and go", async () => {
    for (const letter of "bdfhj") await stores.volumes.insert(volumeRecord(`vol_${letter}`));
    const first = await stores.volumes.list({ pageSize: 2, pageToken: "", filter: "", orderBy: "" });
    await stores.volumes.insert(volumeRecord("vol_a"));
    await stores.volumes.remove(first.items[0]!.id);
    await stores.volumes.remove(first.items[1]!.id);
    const second = await stores.volumes.list({ pageSize: 2, pageToken: first.nextPageToken, filter: "", orderBy: "" });
    expect(second.items.map(({ id }) => id)).toEqual(["vol_f", "vol_h"]);
  });

  it("take 50 by default and 1000 at most, and refuse less than nothing", async () => {
    for (let index = 0; index < 60; index += 1) await stores.volumes.insert(volumeRecord(`vol_${index}`));
    const size = async (pageSize: number): Promise<number> => (await stores.volumes.list({ pageSize, pageToken: "", filter: "", orderBy: "" })).items.length;
    expect(await size(0)).toBe(50);
    expect(await size(5000)).toBe(60);
    await expect(size(-1)).rejects.toMatchObject({ details: { field: "page_size" } });
  });

  it.each(["size", "name sideways", "name desc desc", "name, create_time", "constructor", "id; drop table volumes"])("refuse the order %j", async (orderBy) => {
    const list = stores.volumes.list({ pageSize: 1, pageToken: "", filter: "", orderBy });
    await expect(list).rejects.toMatchObject({ reason: "invalid_argument", details: { field: "order_by" } });
  });

  it("filter by labels, names and hosts", async () => {
    await stores.volumes.insert(volumeRecord("vol_a", { labels: { "zfsilo.io/team": "a", env: "" }, displayName: "50% off_x" }));
    await stores.volumes.insert(volumeRecord("vol_b", { labels: { "zfsilo.io/team": "b" } }));
    const ids = async (filter: string): Promise<string> => (await walk({ pageSize: 10, filter })).items.map(({ id }) => id).join();
    expect(await ids("labels.zfsilo.io/team = a")).toBe("vol_a");
    expect(await ids("labels.zfsilo.io/team != a")).toBe("vol_b");
    expect(await ids("labels:env")).toBe("vol_a");
    expect(await ids("labels:*")).toBe("vol_a,vol_b");
    expect(await ids('display_name:"% off_"')).toBe("vol_a");
    expect(await ids("host = hosts/hst_give AND NOT name = volumes/vol_b")).toBe("vol_a");
    expect(await ids('create_time > "2026-02-01T00:00:00Z"')).toBe("");
    expect(await ids("mode = FILESYSTEM AND pool = tank AND (status = INITIAL OR sparse = false)")).toBe("vol_a,vol_b");
  });

  it.each([
    ["name", "", /SEARCH volumes USING INDEX sqlite_autoindex_volumes_1 \(id>\?\)/],
    ["create_time", "", /SEARCH volumes USING INDEX volumes_created_at \(\(created_at,id\)>/],
    ["capacity_bytes desc", "", /SEARCH volumes USING INDEX volumes_capacity \(\(capacity,id\)</],
    ["name", "host = hosts/hst_give", /SEARCH volumes USING INDEX volumes_host \(host_id=\? AND id>\?\)/],
  ])("walk an index by %s %s, so that the last page costs what the first does", async (orderBy, filter, search) => {
    for (const id of ["vol_a", "vol_b"]) await stores.volumes.insert(volumeRecord(id));
    const tokens = new PageTokens(stores.key.derive("page-tokens"));
    const { nextPageToken } = await stores.volumes.list({ pageSize: 1, pageToken: "", filter, orderBy });
    const { sql, parameters } = listQuery(volumeList, { pageSize: 1, pageToken: nextPageToken, filter, orderBy }, tokens);
    const database = await openDatabase({ file: stores.file, log: silent });
    try {
      const plan = await database.read<{ detail: string }>(`explain query plan ${sql}`, parameters);
      expect(plan.map(({ detail }) => detail)).toEqual([expect.stringMatching(search) as string]);
    } finally {
      await database.close();
    }
  });
});
