import { parseHostId, parseVolumeId, Secret, StorageError } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { attachmentRecord, hostRecord, temporaryStores, volumeRecord, type TemporaryStores } from "./store-fixtures.ts";
import type { VolumeChange } from "./stores.ts";

const volA = parseVolumeId("vol_a");
const take = parseHostId("hst_take");
const everything = { pageSize: 0, pageToken: "", filter: "", orderBy: "" };

let stores: TemporaryStores;
beforeEach(async () => {
  stores = await temporaryStores();
  await stores.hosts.insert(hostRecord("hst_give"));
  await stores.hosts.insert(hostRecord("hst_take"));
});
afterEach(() => stores[Symbol.asyncDispose]());

describe("volumes", () => {
  it("come back as they were stored, to the last byte of the largest size", async () => {
    const volume = volumeRecord("vol_a", {
      capacityBytes: 2n ** 63n - 1n,
      labels: { "zfsilo.io/owner": "it's \"quoted\"" },
      portals: [{ address: "::1", port: 3260 }],
      condition: { reason: "ZVOL_MISSING", message: "no dataset", observedAt: new Date("2026-02-01T00:00:00.001Z") },
    });
    await stores.volumes.insert(volume);
    await stores.reopen();
    expect(await stores.volumes.get(volA)).toEqual(volume);
  });

  it("are summed up under their parent datasets, also as they grow and go", async () => {
    const [give, parent] = [parseHostId("hst_give"), "tank/zfsilo"];
    await stores.volumes.insert(volumeRecord("vol_a", { dataset: `${parent}/0000000000000001`, capacityBytes: 2n ** 62n }));
    await stores.volumes.insert(volumeRecord("vol_b", { dataset: `${parent}/0000000000000002`, capacityBytes: 2n ** 62n + 512n }));
    await stores.volumes.insert(volumeRecord("vol_c", { dataset: "tank/gold/0000000000000003", capacityBytes: 1024n }));
    const sums = async (...except: string[]) =>
      [...(await stores.volumes.commitments(except.map((id) => parseVolumeId(id))))].sort((a, b) => (a.parent < b.parent ? 1 : -1));
    const gold = { hostId: give, parent: "tank/gold", volumes: 1, bytes: 1024n };
    expect(await sums()).toEqual([{ hostId: give, parent, volumes: 2, bytes: 2n ** 63n + 512n }, gold]);
    expect(await sums("vol_b", "vol_none")).toEqual([{ hostId: give, parent, volumes: 1, bytes: 2n ** 62n }, gold]);
    await stores.volumes.update(volA, { capacityBytes: 2n ** 62n + 4096n });
    await stores.volumes.update(volA, { displayName: "a" });
    await stores.volumes.remove(parseVolumeId("vol_b"));
    await stores.volumes.remove(parseVolumeId("vol_c"));
    expect(await sums()).toEqual([{ hostId: give, parent, volumes: 1, bytes: 2n ** 62n + 4096n }]);
  });

  it("keep sizes that differ by one byte above 2^53 apart", async () => {
    await stores.volumes.insert(volumeRecord("vol_a", { capacityBytes: 2n ** 53n }));
    await stores.volumes.insert(volumeRecord("vol_b", { capacityBytes: 2n ** 53n + 1n }));
    const { items } = await stores.volumes.list({ ...everything, filter: "capacity_bytes > 9007199254740992" });
    expect(items.map(({ id }) => id)).toEqual(["vol_b"]);
  });

  it.each([
    ["id", volumeRecord("vol_a"), "id"],
    ["handle", volumeRecord("vol_b", { dataset: "tank/other" }), "handle"],
  ])("are refused when the %s is taken", async (_what, second, named) => {
    await stores.volumes.insert(volumeRecord("vol_a", named === "handle" ? { handle: second.handle } : {}));
    await expect(stores.volumes.insert(second)).rejects.toMatchObject({
      reason: "already_exists",
      message: expect.stringContaining(`its ${named} is taken`) as string,
    });
  });

  it("never share a dataset", async () => {
    await stores.volumes.insert(volumeRecord("vol_a", { dataset: "tank/one" }));
    await expect(stores.volumes.insert(volumeRecord("vol_b", { dataset: "tank/one" }))).rejects.toMatchObject({
      reason: "already_exists",
    });
  });

  it("need their host", async () => {
    const insert = stores.volumes.insert(volumeRecord("vol_a", { hostId: parseHostId("hst_none") }));
    await expect(insert).rejects.toMatchObject({ reason: "not_found", details: { host: "hosts/hst_none" } });
  });

  it("are not_found with their name when absent", async () => {
    await expect(stores.volumes.get(volA)).rejects.toMatchObject({ reason: "not_found", details: { volume: "volumes/vol_a" } });
    expect(await stores.volumes.find(volA)).toBeUndefined();
    await expect(stores.volumes.update(volA, {})).rejects.toMatchObject({ reason: "not_found" });
    await expect(stores.volumes.remove(volA)).resolves.toBeUndefined();
  });

  const cleared: [keyof VolumeChange, VolumeChange, VolumeChange][] = [
    ["displayName", { displayName: "x" }, { displayName: "" }],
    ["labels", { labels: { a: "b" } }, { labels: {} }],
    ["zfsOptions", { zfsOptions: { compression: "lz4" } }, { zfsOptions: {} }],
    ["filesystem", { filesystem: volumeRecord("x").filesystem }, { filesystem: undefined }],
    ["published", { published: true }, { published: false }],
    ["portals", { portals: [{ address: "10.0.0.1", port: 3260 }] }, { portals: [] }],
    ["zvolGuid", { zvolGuid: "18446744073709551615" }, { zvolGuid: "" }],
    ["generation", { generation: 3 }, { generation: 0 }],
    ["condition", { condition: { reason: "R", message: "m", observedAt: new Date(0) } }, { condition: undefined }],
    ["state", { state: "deleting" }, { state: "ready" }],
    ["capacityBytes", { capacityBytes: 1n }, { capacityBytes: 0n }],
  ];
  it.each(cleared)("can have %s set and cleared, and nothing else changes", async (_key, set, clear) => {
    const before = volumeRecord("vol_a", clear);
    await stores.volumes.insert(before);
    for (const [change, revision] of [[set, 2], [clear, 3]] as const) {
      const answered = await stores.volumes.update(volA, change);
      const stored = await stores.volumes.get(volA);
      expect(stored).toEqual(answered);
      expect(stored).toEqual({ ...before, ...change, revision, updatedAt: answered.updatedAt });
    }
  });

  it("are changed only from the revision that the caller saw", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    await stores.volumes.update(volA, { displayName: "first" }, 1);
    await expect(stores.volumes.update(volA, { displayName: "second" }, 1)).rejects.toMatchObject({
      reason: "aborted",
      details: { reason: "REVISION_MISMATCH" },
    });
    expect(await stores.volumes.get(volA)).toMatchObject({ displayName: "first", revision: 2 });
  });

  it("lose no update when 200 come at once", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    await stores.volumes.insert(volumeRecord("vol_b"));
    await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        index % 2 === 0
          ? stores.volumes.update(volA, { generation: index })
          : stores.volumes.putAttachment(attachmentRecord("vol_b", "hst_take", { generation: index })),
      ),
    );
    expect((await stores.volumes.get(volA)).revision).toBe(101);
    expect((await stores.volumes.get(parseVolumeId("vol_b"))).revision).toBe(101);
  });
});

describe("the status of a volume", () => {
  const withStatus = async (status: string): Promise<string[]> => {
    const { items } = await stores.volumes.list({ ...everything, filter: `status = ${status}` });
    return items.map(({ id }) => id);
  };

  it("follows its export and its attachments", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    expect(await withStatus("INITIAL")).toEqual(["vol_a"]);
    await stores.volumes.update(volA, { published: true });
    await stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_take"));
    expect(await withStatus("PUBLISHED")).toEqual(["vol_a"]);
    for (const state of ["connected", "staged", "mounted"] as const) {
      await stores.volumes.updateAttachment(volA, take, { state });
      expect(await withStatus(state.toUpperCase())).toEqual(["vol_a"]);
    }
    expect(await stores.volumes.countByStatus()).toEqual({ mounted: 1 });
    await stores.volumes.removeAttachment(volA, take);
    expect(await withStatus("VOLUME_STATUS_PUBLISHED")).toEqual(["vol_a"]);
  });

  it("is not listed or counted while the volume is being created", async () => {
    await stores.volumes.insert(volumeRecord("vol_a", { state: "creating" }));
    expect((await stores.volumes.list(everything)).items).toEqual([]);
    expect(await stores.volumes.countByStatus()).toEqual({});
    expect(await stores.volumes.countOn(parseHostId("hst_give"))).toEqual({ volumes: 1, attachments: 0 });
  });
});

describe("attachments", () => {
  const chap = {
    userid: "zfsilo",
    password: new Secret("correct-horse-battery"),
    mutual: { userid: "target", password: new Secret("staple-mutual-secret") },
  };

  it("come with their volume in order of creation, secrets opened", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    const later = attachmentRecord("vol_a", "hst_give", { createdAt: new Date("2026-02-02T00:00:00Z"), generation: 2 });
    const first = attachmentRecord("vol_a", "hst_take", { chap, targetPaths: ["/mnt/a", "/mnt/b"], readOnly: true });
    await stores.volumes.putAttachment(later);
    await stores.volumes.putAttachment(first);
    const volume = await stores.volumes.get(volA);
    expect(volume.attachments).toEqual([first, later]);
    expect(volume.attachments[0]!.chap!.password.reveal()).toBe("correct-horse-battery");
    expect(volume.attachments[0]!.chap!.mutual!.password.reveal()).toBe("staple-mutual-secret");
    expect(volume.revision).toBe(3);
    expect((await stores.volumes.list(everything)).items).toEqual([volume]);
    expect(await stores.volumes.countOn(take)).toEqual({ volumes: 0, attachments: 1 });
  });

  it("keep their secrets through a change, and the file shows none of them", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    await stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_take", { chap }));
    await stores.volumes.updateAttachment(volA, take, { state: "staged", stagingPath: "/mnt/stage", device: "/dev/sdb" });
    expect((await stores.volumes.get(volA)).attachments[0]!.chap!.password.reveal()).toBe("correct-horse-battery");
    const files = [await readFile(stores.file), await readFile(`${stores.file}-wal`)];
    for (const word of ["correct-horse-battery", "staple-mutual-secret"]) {
      for (const text of [word, Buffer.from(word).toString("base64").slice(0, 20)]) {
        for (const bytes of files) expect(bytes.includes(text)).toBe(false);
      }
    }
    // The search would find what is there.
    expect(files.some((bytes) => bytes.includes("/mnt/stage"))).toBe(true);
  });

  it("of an unknown volume or host are refused", async () => {
    await expect(stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_take"))).rejects.toMatchObject({ reason: "not_found" });
    await stores.volumes.insert(volumeRecord("vol_a"));
    await expect(stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_none"))).rejects.toMatchObject({
      reason: "not_found",
      details: { host: "hosts/hst_none" },
    });
    await expect(stores.volumes.updateAttachment(volA, take, {})).rejects.toBeInstanceOf(StorageError);
    await expect(stores.volumes.removeAttachment(volA, take)).resolves.toBeUndefined();
    expect((await stores.volumes.get(volA)).revision).toBe(1);
  });

  it("keep their volume and their host from being forgotten", async () => {
    await stores.volumes.insert(volumeRecord("vol_a"));
    await stores.volumes.putAttachment(attachmentRecord("vol_a", "hst_take"));
    await expect(stores.volumes.remove(volA)).rejects.toMatchObject({ reason: "precondition" });
    await expect(stores.hosts.remove(take)).rejects.toMatchObject({ reason: "precondition", details: { reason: "HOST_IN_USE" } });
    await stores.volumes.removeAttachment(volA, take);
    await stores.volumes.remove(volA);
    await stores.hosts.remove(take);
    expect(await stores.volumes.find(volA)).toBeUndefined();
  });
});

describe("each", () => {
  it("yields every ready volume that matches, in batches", async () => {
    for (let index = 0; index < 1001; index += 1) {
      await stores.volumes.insert(volumeRecord(`vol_${index}`, { sparse: index % 2 === 0, state: index === 2 ? "deleting" : "ready" }));
    }
    const seen = new Set<string>();
    for await (const { id } of stores.volumes.each("sparse = true")) seen.add(id);
    expect(seen.size).toBe(500);
    expect(seen.has("vol_2")).toBe(false);
  });
});
