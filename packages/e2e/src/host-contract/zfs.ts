import { RecordingExecutor } from "@zfsilo/command";
import { childOf, parseDatasetName, parsePoolName, Zfs, ZfsSnapshots } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";
import { zfsDestroyContract } from "./zfs-destroy.ts";

const nowhere = parseDatasetName("nopool/contract/v");

export function zfsContract(current: CurrentLab): void {
  describe("zfs", () => {
    poolCases(current);
    createCases(current);
    findCases(current);
    changeCases(current);
    zfsDestroyContract(current);
  });
}

function poolCases(current: CurrentLab): void {
  it("tells its version and its pools", async () => {
    const { zfs, o, world } = current();
    expect(await zfs.version(o)).toMatch(/^\d+\.\d+/);
    const pool = await zfs.findPool(world.pool, o);
    expect(pool).toMatchObject({ name: world.pool, health: "ONLINE", readonly: false });
    expect(pool?.guid).toMatch(/^\d+$/);
    expect(pool?.freeBytes).toBeGreaterThan(mib(1024));
    expect((await zfs.listPools(o)).map(({ name }) => name)).toEqual([world.pool]);
    expect(await zfs.findPool(parsePoolName("nopool"), o)).toBeUndefined();
  });

  it("makes the file system volumes live in, once", async () => {
    const lab = current();
    const { zfs, o, parent, world } = lab;
    const made = childOf(parent, "nested");
    lab.defer(() => lab.destroyTree(made));
    expect(await zfs.findDatasetSpace(made, o)).toBeUndefined();
    const space = await zfs.ensureFilesystem(made, o);
    expect(space).toMatchObject({ type: "filesystem", quotaBytes: 0n, reservationBytes: 0n });
    expect((await zfs.ensureFilesystem(made, o)).type).toBe("filesystem");
    expect(await refusal(zfs.ensureFilesystem(parseDatasetName(`${parent}/no/such`), o))).toBe("precondition");
    expect(await refusal(zfs.findDatasetSpace(nowhere, o))).toBe("unavailable");
    expect((await zfs.findDatasetSpace(parseDatasetName(world.pool), o))?.availableBytes).toBeGreaterThan(mib(1024));
  });
}

function createCases(current: CurrentLab): void {
  it("makes a sparse volume with its marks and options, and finds it again", async () => {
    const lab = current();
    const { zfs, o } = lab;
    const { dataset, owner } = lab.newOwner();
    lab.defer(() => zfs.destroyVolume(dataset, o));
    const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster, "zfsilo:name": "volumes/a b=c" };
    const options = { volblocksize: "16384", compression: "lz4", sync: "always" };
    const made = await zfs.createVolume({ dataset, sizeBytes: mib(64), sparse: true, options, userProperties }, o);
    expect(made).toMatchObject({ dataset, owner, displayName: "volumes/a b=c", sizeBytes: mib(64), volblocksizeBytes: 16384n });
    expect(made.refreservationBytes).toBe(0n);
    expect(made.properties).toMatchObject({ compression: "lz4", sync: "always", logbias: "latency", copies: "1", dedup: "off" });
    expect(made.origin).toBeUndefined();
    expect(made.formatted).toBeUndefined();
    expect(Math.abs(Date.now() - made.createdAt.getTime())).toBeLessThan(120_000);
    const { usedBytes: _used, referencedBytes: _referenced, availableBytes: _available, ...steady } = made;
    expect(await zfs.findVolume(dataset, o)).toMatchObject(steady);
  });

  it("reserves the room of a thick volume", async () => {
    const lab = current();
    const { zfs, o, parent } = lab;
    const before = await zfs.findDatasetSpace(parent, o);
    const { zvol } = await lab.volume({ sparse: false, sizeBytes: mib(256) });
    const after = await zfs.findDatasetSpace(parent, o);
    expect(zvol.refreservationBytes).toBeGreaterThanOrEqual(mib(256));
    expect(zvol.usedBytes).toBeGreaterThanOrEqual(mib(256));
    expect(zvol.referencedBytes).toBeLessThan(mib(1));
    expect((before?.availableBytes ?? 0n) - (after?.availableBytes ?? 0n)).toBeGreaterThanOrEqual(mib(256));
  });

  it("makes a sparse volume larger than the pool", async () => {
    const lab = current();
    expect((await lab.bareVolume({ sizeBytes: mib(1 << 20) })).zvol.sizeBytes).toBe(mib(1 << 20));
  });

  it("refuses what cannot be made, and makes nothing", async () => {
    const lab = current();
    const { zfs, o, parent } = lab;
    const present = await lab.bareVolume();
    const { dataset } = lab.newOwner();
    const plain = { dataset, sizeBytes: mib(64), sparse: true, options: {}, userProperties: {} };
    const create = (changes: Partial<typeof plain> & { options?: Record<string, string> }, by = zfs) =>
      refusal(by.createVolume({ ...plain, ...changes }, o));
    expect(await create({ dataset: present.dataset })).toBe("already_exists");
    expect(await create({ dataset: parent })).toBe("already_exists");
    expect(await create({ dataset: parseDatasetName(`${parent}/none/${present.handle}`) })).toBe("precondition");
    expect(await create({ dataset: parseDatasetName(`${present.dataset}/child`) })).toBe("precondition");
    expect(await create({ dataset: nowhere })).toBe("not_found");
    expect(await create({ sparse: false, sizeBytes: mib(1 << 20) })).toBe("no_space");
    expect(await create({ sizeBytes: bytes(0) })).toBe("invalid_argument");
    expect(await create({ options: { volblocksize: "24576" }, sizeBytes: bytes(24576 * 2048) })).toBe("invalid_argument");
    expect(await create({ options: { compression: "nosuch" } })).toBe("invalid_argument");
    expect(await create({ options: { nosuch: "on" } }, lab.past.zfs)).toBe("invalid_argument");
    expect(await zfs.findVolume(dataset, o)).toBeUndefined();
    expect((await zfs.listVolumes(parent, o)).map((volume) => volume.dataset)).toEqual([present.dataset]);
  });

  it("says so when zfs has rounded a size up", async () => {
    const lab = current();
    const { zfs, o } = lab;
    const { dataset } = lab.newOwner();
    lab.defer(() => zfs.destroyVolume(dataset, o));
    const spec = { dataset, sizeBytes: bytes(mib(64) + 512n), sparse: true, options: {}, userProperties: {} };
    expect(await refusal(zfs.createVolume(spec, o))).toBe("invalid_argument");
    expect((await zfs.getVolume(dataset, o)).sizeBytes).toBe(bytes(mib(64) + 8192n));
  });
}

function findCases(current: CurrentLab): void {
  it("tells absent from unknown: only an imported pool can lack a volume", async () => {
    const lab = current();
    const { zfs, o, parent } = lab;
    const { dataset } = lab.newOwner();
    expect(await zfs.findVolume(dataset, o)).toBeUndefined();
    expect(await zfs.findVolume(parseDatasetName(`${dataset}/below`), o)).toBeUndefined();
    expect(await refusal(zfs.getVolume(dataset, o))).toBe("not_found");
    expect(await refusal(zfs.findVolume(nowhere, o))).toBe("unavailable");
    expect(await refusal(zfs.listVolumes(nowhere, o))).toBe("unavailable");
    expect(await refusal(zfs.listVolumes(dataset, o))).toBe("not_found");
    expect(await refusal(zfs.findVolume(parent, o))).toBe("precondition");
    expect(await refusal(zfs.destroyOwnedVolume(nowhere, { volume: "v", cluster: "c" }, o))).toBe("unavailable");
  });

  it("lists the volumes right below a file system, not those deeper", async () => {
    const lab = current();
    const { zfs, o, parent } = lab;
    const one = await lab.bareVolume();
    const two = await lab.bareVolume();
    const deep = childOf(parent, "deep");
    lab.defer(() => lab.destroyTree(deep));
    await zfs.ensureFilesystem(deep, o);
    await lab.command(lab.byHand.target, "zfs", "create", "-s", "-V", "67108864", `${deep}/below`);
    const listed = await zfs.listVolumes(parent, o);
    expect(listed.map(({ dataset }) => dataset).sort()).toEqual([one.dataset, two.dataset].sort());
    expect(listed.find(({ dataset }) => dataset === two.dataset)).toMatchObject({ guid: two.zvol.guid, owner: two.owner });
  });
}

function changeCases(current: CurrentLab): void {
  it("grows, and never shrinks", async () => {
    const lab = current();
    const { zfs, o } = lab;
    const { dataset } = await lab.bareVolume({ sparse: false });
    expect((await zfs.growVolume(dataset, mib(96), o)).sizeBytes).toBe(mib(96));
    expect((await zfs.growVolume(dataset, mib(96), o)).sizeBytes).toBe(mib(96));
    expect(await refusal(zfs.growVolume(dataset, mib(64), o))).toBe("invalid_argument");
    expect(await refusal(zfs.growVolume(dataset, bytes(mib(96) + 1n), o))).toBe("invalid_argument");
    expect(await refusal(zfs.growVolume(dataset, mib(1 << 20), o))).toBe("no_space");
    expect(await refusal(zfs.growVolume(lab.newOwner().dataset, mib(64), o))).toBe("not_found");
    const left = await zfs.getVolume(dataset, o);
    expect(left.sizeBytes).toBe(mib(96));
    expect(left.refreservationBytes).toBeGreaterThanOrEqual(mib(96));
  });

  it("checks what is known, changes it and reads it back in one round trip", async () => {
    const lab = current();
    const { o } = lab;
    const recorded = new RecordingExecutor(lab.world.target);
    const trips = async <T>(work: Promise<T>): Promise<{ readonly result: T; readonly trips: number }> => {
      const before = recorded.calls.length;
      return { result: await work, trips: recorded.calls.length - before };
    };
    const [zfs, snapshots] = [new Zfs(recorded), new ZfsSnapshots(recorded)];
    const volume = await lab.bareVolume();
    const { dataset, owner } = volume;
    const known = { ...owner, guid: volume.zvol.guid, sizeBytes: mib(64), encrypted: false };
    expect(await trips(zfs.growKnownVolume(dataset, known, mib(96), o))).toMatchObject({ result: { sizeBytes: mib(96) }, trips: 1 });
    for (const other of [known, { ...known, sizeBytes: mib(96), guid: "1" }, { ...known, sizeBytes: mib(96), encrypted: true }]) {
      expect(await trips(zfs.growKnownVolume(dataset, other, mib(128), o))).toEqual({ result: undefined, trips: 1 });
    }
    const { name, taken } = await lab.snapshot(volume, "s1");
    const mine = { snapshot: "snap_s1", cluster: owner.cluster, guid: taken.guid };
    expect(await trips(snapshots.destroy(name, mine, {}, o))).toEqual({ result: "destroyed", trips: 1 });
    expect((await zfs.getVolume(dataset, o)).sizeBytes).toBe(mib(96));
    await zfs.destroyOwnedVolume(dataset, { ...owner, guid: known.guid }, o);
    // udev may have held it for a moment: then there were more tries like the last.
    const destroyed = recorded.calls.slice(-1).map(({ argv = [] }) => argv.filter((word) => word === "&&").length);
    expect(destroyed).toEqual([2]);
    expect(await zfs.findVolume(dataset, o)).toBeUndefined();
  });

  it("sets options and marks in one go", async () => {
    const lab = current();
    const { zfs, o } = lab;
    const { dataset, owner } = await lab.bareVolume();
    const changed = await zfs.setProperties(dataset, { compression: "off", logbias: "throughput" }, { "zfsilo:formatted": "ext4:x" }, o);
    expect(changed).toMatchObject({ owner, formatted: "ext4:x", properties: { compression: "off", logbias: "throughput" } });
    const set = (options: Record<string, string>, of = dataset, by = zfs) => refusal(by.setProperties(of, options, {}, o));
    expect(await set({ compression: "nosuch" })).toBe("invalid_argument");
    expect(await set({ volblocksize: "4096" })).toBe("invalid_argument");
    expect(await set({ nosuch: "on" }, dataset, lab.past.zfs)).toBe("invalid_argument");
    expect(await set({ quota: "1048576" })).toBe("invalid_argument");
    expect(await set({ compression: "off" }, lab.newOwner().dataset)).toBe("not_found");
    expect((await zfs.getVolume(dataset, o)).properties).toMatchObject({ compression: "off" });
  });

  it("puts marks on and takes them off again", async () => {
    const lab = current();
    const { zfs, o } = lab;
    const { dataset, owner } = await lab.bareVolume();
    await zfs.mark(dataset, { "zfsilo:generation": "12", "zfsilo:formatted": "ext4:x" }, o);
    expect(await zfs.getVolume(dataset, o)).toMatchObject({ owner, generation: 12, formatted: "ext4:x" });
    await zfs.unmark(dataset, "zfsilo:generation", o);
    await zfs.unmark(dataset, "zfsilo:generation", o);
    const left = await zfs.getVolume(dataset, o);
    expect(left).toMatchObject({ owner, formatted: "ext4:x" });
    expect(left.generation).toBeUndefined();
    expect(await refusal(zfs.unmark(lab.newOwner().dataset, "zfsilo:generation", o))).toBe("not_found");
  });

  it("takes no mark that was set on a parent for a volume's own", async () => {
    const lab = current();
    const { zfs, o, parent } = lab;
    const marked = childOf(parent, "marked");
    lab.defer(() => lab.destroyTree(marked));
    await zfs.ensureFilesystem(marked, o);
    const { owner, handle } = lab.newOwner();
    await lab.command(lab.byHand.target, "zfs", "set", `zfsilo:volume=${owner.volume}`, `zfsilo:cluster=${owner.cluster}`, marked);
    const dataset = childOf(marked, handle);
    await zfs.createVolume({ dataset, sizeBytes: mib(64), sparse: true, options: {}, userProperties: {} }, o);
    expect((await zfs.getVolume(dataset, o)).owner).toBeUndefined();
    expect(await refusal(zfs.destroyOwnedVolume(dataset, owner, o))).toBe("precondition");
    expect(await zfs.findVolume(dataset, o)).toBeDefined();
  });
}
