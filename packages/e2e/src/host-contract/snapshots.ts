import { parseDatasetName, parseHoldTag, snapshotOf, zvolPath, type SnapshotName } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab, type Lab, type Volume } from "./lab.ts";
import { refusal } from "./refusal.ts";

const backup = parseHoldTag("backup");
const nowhere = snapshotOf(parseDatasetName("nopool/contract/v"), "s");

/** Writes text at the beginning of a zvol, through the page cache and down to the pool. */
export async function write(lab: Lab, volume: Pick<Volume, "dataset">, content: string): Promise<void> {
  const path = zvolPath(volume.dataset);
  await lab.byHand.target.files([{ op: "write", path, content }], lab.o);
  await lab.command(lab.byHand.target, "sync", path);
}

export async function read(lab: Lab, volume: Pick<Volume, "dataset">, length: number): Promise<string> {
  const [result] = await lab.byHand.target.files([{ op: "read", path: zvolPath(volume.dataset), maxBytes: length }], lab.o);
  return result?.text ?? "";
}

const owned = (snapshot: string) => ({ snapshot, cluster: "contract" });

export function snapshotContract(current: CurrentLab): void {
  describe("snapshots", () => {
    takeCases(current);
    destroyCases(current);
    holdCases(current);
    rollbackCases(current);
  });
}

function takeCases(current: CurrentLab): void {
  it("takes one with its mark, and finds it again", async () => {
    const lab = current();
    const { snapshots, o, parent } = lab;
    const volume = await lab.volume();
    await write(lab, volume, "a".repeat(65_536));
    const { name, taken } = await lab.snapshot(volume, "s1");
    expect(taken).toMatchObject({ name, owner: "snap_s1", volume: volume.owner.volume, cluster: "contract", sizeBytes: mib(64) });
    expect(taken).toMatchObject({ holds: 0, deferred: false, clones: [], usedBytes: 0n });
    expect(taken.referencedBytes).toBeGreaterThanOrEqual(65_536n);
    expect(Math.abs(Date.now() - taken.createdAt.getTime())).toBeLessThan(120_000);
    expect(await snapshots.find(name, o)).toMatchObject({ guid: taken.guid, createTxg: taken.createTxg });
    expect((await snapshots.list(parent, o)).map((each) => each.name)).toEqual([name]);
    expect(await snapshots.find(snapshotOf(volume.dataset, "none"), o)).toBeUndefined();
    expect(await snapshots.find(snapshotOf(lab.newOwner().dataset, "none"), o)).toBeUndefined();
    expect(await refusal(snapshots.find(nowhere, o))).toBe("unavailable");
    expect(await refusal(snapshots.list(parseDatasetName("nopool/contract"), o))).toBe("unavailable");
  });

  it("takes those of several volumes at one instant, or none", async () => {
    const lab = current();
    const { snapshots, o, parent } = lab;
    const [a, b] = [await lab.volume(), await lab.volume()];
    const names = [b, a].map(({ dataset }) => snapshotOf(dataset, "g1"));
    for (const name of names) lab.defer(() => lab.dropSnapshot(name));
    const taken = await snapshots.create(names, { "zfsilo:snapshot": "group" }, o);
    expect(taken.map(({ name }) => name)).toEqual(names);
    expect(new Set(taken.map(({ createTxg }) => createTxg)).size).toBe(1);
    const next = (dataset: string, tag: string): SnapshotName => snapshotOf(parseDatasetName(dataset), tag);
    const create = (...wanted: SnapshotName[]) => refusal(snapshots.create(wanted, { "zfsilo:snapshot": "x" }, o));
    expect(await create(next(a.dataset, "g2"), next(b.dataset, "g1"))).toBe("already_exists");
    expect(await create(next(a.dataset, "g2"), next(lab.newOwner().dataset, "g2"))).toBe("not_found");
    expect(await create(next(a.dataset, "g2"), next(a.dataset, "g3"))).toBe("invalid_argument");
    expect(await create(next(a.dataset, "g2"), nowhere)).toBe("invalid_argument");
    expect(await create()).toBe("invalid_argument");
    expect((await snapshots.list(parent, o)).map(({ name }) => name).sort()).toEqual([...names].sort());
  });

  it("counts what each one wrote and what only it holds", async () => {
    const lab = current();
    const { snapshots, o } = lab;
    const volume = await lab.volume();
    await write(lab, volume, "a".repeat(131_072));
    await lab.snapshot(volume, "s1");
    await write(lab, volume, "b".repeat(65_536));
    await lab.snapshot(volume, "s2");
    await write(lab, volume, "c".repeat(32_768));
    await lab.snapshot(volume, "s3");
    const [one, two, three] = await snapshots.listOf(volume.dataset, o);
    for (const [found, written] of [[one, 131_072n], [two, 65_536n], [three, 32_768n]] as const) {
      // Metadata and what compression saves make the difference.
      expect(found?.writtenBytes).toBeGreaterThanOrEqual(written);
      expect(found?.writtenBytes).toBeLessThan(written + 131_072n);
    }
    expect(one?.usedBytes).toBeGreaterThanOrEqual(65_536n);
    expect(two?.usedBytes).toBeGreaterThanOrEqual(32_768n);
    expect(three?.usedBytes).toBe(0n);
  });
}

function destroyCases(current: CurrentLab): void {
  it("destroys its own, and is done when it is gone already", async () => {
    const lab = current();
    const { snapshots, o } = lab;
    const volume = await lab.bareVolume();
    const { name, taken } = await lab.snapshot(volume, "s1");
    expect(await snapshots.destroy(name, { ...owned("snap_s1"), guid: taken.guid }, {}, o)).toBe("destroyed");
    expect(await snapshots.find(name, o)).toBeUndefined();
    expect(await snapshots.destroy(name, owned("snap_s1"), {}, o)).toBe("destroyed");
    expect(await refusal(snapshots.destroy(nowhere, owned("x"), {}, o))).toBe("unavailable");
  });

  it("leaves what is another's, and what somebody made by hand", async () => {
    const lab = current();
    const { snapshots, o } = lab;
    const volume = await lab.bareVolume();
    const { name, taken } = await lab.snapshot(volume, "s1");
    const byHand = snapshotOf(volume.dataset, "byhand");
    await lab.command(lab.byHand.target, "zfs", "snapshot", byHand);
    lab.defer(() => lab.dropSnapshot(byHand));
    expect(await refusal(snapshots.destroy(name, owned("snap_other"), {}, o))).toBe("precondition");
    expect(await refusal(snapshots.destroy(name, { snapshot: "snap_s1", cluster: "other" }, {}, o))).toBe("precondition");
    expect(await refusal(snapshots.destroy(name, { ...owned("snap_s1"), guid: "1" }, { defer: true }, o))).toBe("precondition");
    expect(await refusal(snapshots.destroy(byHand, owned("byhand"), {}, o))).toBe("precondition");
    expect((await snapshots.listOf(volume.dataset, o)).map(({ guid }) => guid)).toContain(taken.guid);
    expect(await snapshots.find(byHand, o)).toMatchObject({ volume: volume.owner.volume });
  });

  it("names the clones in the way, and puts the end off on request", async () => {
    const lab = current();
    const { snapshots, zfs, o } = lab;
    const volume = await lab.volume();
    const { name } = await lab.snapshot(volume, "s1");
    const clone = await lab.clone(name);
    await expect(snapshots.destroy(name, owned("snap_s1"), {}, o)).rejects.toMatchObject({
      reason: "has_dependents",
      clones: [clone.dataset],
      details: { clones: clone.dataset },
    });
    expect(await snapshots.destroy(name, owned("snap_s1"), { defer: true }, o)).toBe("deferred");
    expect(await snapshots.destroy(name, owned("snap_s1"), { defer: true }, o)).toBe("deferred");
    expect(await snapshots.find(name, o)).toMatchObject({ deferred: true, clones: [clone.dataset] });
    await zfs.destroyOwnedVolume(clone.dataset, clone.owner, o);
    expect(await snapshots.find(name, o)).toBeUndefined();
  });
}

function holdCases(current: CurrentLab): void {
  it("is kept by its tags, and goes with the last when its end was put off", async () => {
    const lab = current();
    const { snapshots, o } = lab;
    const volume = await lab.bareVolume();
    const { name } = await lab.snapshot(volume, "s1");
    const second = await lab.snapshot(volume, "s2");
    await snapshots.hold(name, backup, o);
    await snapshots.hold(name, backup, o);
    await snapshots.hold(name, parseHoldTag("other"), o);
    expect(await snapshots.find(name, o)).toMatchObject({ holds: 2 });
    expect(new Map([...(await snapshots.holds([name, second.name], o))].map(([of, tags]) => [of, [...tags].sort()]))).toEqual(
      new Map([[name, ["backup", "other"]]]),
    );
    await expect(snapshots.destroy(name, owned("snap_s1"), {}, o)).rejects.toMatchObject({ reason: "busy", clones: [] });
    await snapshots.release(name, parseHoldTag("other"), o);
    await snapshots.release(name, parseHoldTag("other"), o);
    await expect(snapshots.destroy(name, owned("snap_s1"), {}, o)).rejects.toMatchObject({ holds: ["backup"] });
    expect(await snapshots.destroy(name, owned("snap_s1"), { defer: true }, o)).toBe("deferred");
    await snapshots.release(name, backup, o);
    expect(await snapshots.find(name, o)).toBeUndefined();
    await snapshots.release(name, backup, o);
    expect(await refusal(snapshots.hold(name, backup, o))).toBe("not_found");
    expect(await refusal(snapshots.holds([name], o))).toBe("not_found");
  });
}

function rollbackCases(current: CurrentLab): void {
  it("takes a volume back, bytes and size", async () => {
    const lab = current();
    const { snapshots, zfs, o } = lab;
    const volume = await lab.volume({ sparse: false });
    await write(lab, volume, "a".repeat(16_384));
    const { name } = await lab.snapshot(volume, "s1");
    await write(lab, volume, "b".repeat(8192));
    await zfs.growVolume(volume.dataset, mib(96), o);
    await snapshots.rollback(name, {}, o);
    expect(await zfs.getVolume(volume.dataset, o)).toMatchObject({ sizeBytes: mib(64), guid: volume.zvol.guid });
    expect(await read(lab, volume, 16_384)).toBe("a".repeat(16_384));
    await snapshots.rollback(name, {}, o);
    expect(await refusal(snapshots.rollback(snapshotOf(volume.dataset, "none"), {}, o))).toBe("not_found");
  });

  it("names later snapshots, and destroys them when asked, but none that is not ours or in use", async () => {
    const lab = current();
    const { snapshots, zfs, o } = lab;
    const volume = await lab.volume();
    await write(lab, volume, "a".repeat(8192));
    const { name } = await lab.snapshot(volume, "s1");
    await write(lab, volume, "b".repeat(8192));
    const second = await lab.snapshot(volume, "s2");
    const third = await lab.snapshot(volume, "s3");
    await expect(snapshots.rollback(name, {}, o)).rejects.toMatchObject({
      reason: "has_dependents",
      details: { snapshots: `${second.name},${third.name}` },
    });
    await snapshots.hold(third.name, backup, o);
    await expect(snapshots.rollback(name, { destroyLater: true }, o)).rejects.toMatchObject({ holds: ["backup"] });
    await snapshots.release(third.name, backup, o);
    const clone = await lab.clone(second.name);
    await expect(snapshots.rollback(name, { destroyLater: true }, o)).rejects.toMatchObject({ clones: [clone.dataset] });
    await zfs.destroyOwnedVolume(clone.dataset, clone.owner, o);
    const byHand = snapshotOf(volume.dataset, "byhand");
    await lab.command(lab.byHand.target, "zfs", "snapshot", byHand);
    lab.defer(() => lab.dropSnapshot(byHand));
    expect(await refusal(snapshots.rollback(name, { destroyLater: true }, o))).toBe("has_dependents");
    await lab.dropSnapshot(byHand);
    expect(await snapshots.listOf(volume.dataset, o)).toHaveLength(3);
    expect(await read(lab, volume, 8192)).toBe("b".repeat(8192));
    await snapshots.rollback(name, { destroyLater: true }, o);
    expect((await snapshots.listOf(volume.dataset, o)).map((each) => each.name)).toEqual([name]);
    expect(await read(lab, volume, 8192)).toBe("a".repeat(8192));
  });
}
