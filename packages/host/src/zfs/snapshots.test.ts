import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName } from "./names.ts";
import { parseHoldTag, parseSnapshotName, snapshotOf } from "./snapshot-name.ts";
import { snapshotColumns } from "./snapshot-parse.ts";
import { SnapshotInUseError, ZfsSnapshots } from "./snapshots.ts";

const v1 = parseDatasetName("tank/zfsilo/v1");
const s1 = snapshotOf(v1, "s1");
const [v1s2, v2s2] = [snapshotOf(v1, "s2"), parseSnapshotName("tank/zfsilo/v2@s2")];
const get = (names: string): string => `zfs get -Hp -o name,property,value,source ${snapshotColumns} tank ${names}`;
const listOf = `zfs get -Hp -d 1 -t snapshot -o name,property,value,source ${snapshotColumns} ${v1}`;
const both = readTestdata(import.meta.url, "get-snapshots.zfs-2.1.11.stdout.txt");
const listed = readTestdata(import.meta.url, "list-snapshots.zfs-2.1.11.stdout.txt");
const failure = (name: string): string => readTestdata(import.meta.url, `${name}.zfs-2.1.11.exit-1.stderr.txt`);
const poolOnly = readTestdata(import.meta.url, "get-snapshot-absent.zfs-2.1.11.stdout.txt");
const ofS1 = listed.split("\n").filter((line) => line.startsWith(`${s1}\t`)).join("\n");

const present = (change: (text: string) => string = (text) => text): ScriptedRun => ({ argv: get(s1), stdout: `${poolOnly}${change(ofS1)}\n` });
const absent: ScriptedRun = { argv: get(s1), exitCode: 1, stdout: poolOnly, stderr: `cannot open '${s1}': dataset does not exist\n` };
const owner = { snapshot: "snap_a", cluster: "cl_test" };

async function against<T>(runs: ScriptedRun[], work: (snapshots: ZfsSnapshots) => Promise<T>): Promise<T> {
  const executor = new ScriptedExecutor({ runs });
  try {
    return await work(new ZfsSnapshots(executor));
  } finally {
    expect(executor.leftOver).toBe(0);
  }
}

describe("reading", () => {
  it("reads what zfs says of one", async () => {
    expect(await against([present()], (snapshots) => snapshots.get(s1, o))).toMatchObject({
      name: s1,
      guid: "7627631462412141790",
      createTxg: 30n,
      referencedBytes: 63_488n,
      writtenBytes: 63_488n,
      sizeBytes: 67_108_864n,
      holds: 2,
      deferred: false,
      clones: [],
      owner: "snap_a",
      volume: "vol_v1",
      cluster: "cl_test",
    });
    const deferred = { argv: get(v1s2), stdout: readTestdata(import.meta.url, "get-snapshot-deferred.zfs-2.1.11.stdout.txt") };
    const found = await against([deferred], (snapshots) => snapshots.get(v1s2, o));
    expect(found).toMatchObject({ deferred: true });
    expect(found.clones).toHaveLength(6);
  });

  it("is undefined only while the pool is there", async () => {
    expect(await against([absent], (snapshots) => snapshots.find(s1, o))).toBeUndefined();
    const noPool = { argv: get(s1), exitCode: 1, stderr: `cannot open 'tank': dataset does not exist\ncannot open '${s1}': dataset does not exist\n` };
    await expect(against([noPool], (snapshots) => snapshots.find(s1, o))).rejects.toMatchObject({ reason: "unavailable" });
    const silent = { argv: get(s1), exitCode: 1, stdout: poolOnly, stderr: "internal error: out of memory\n" };
    await expect(against([silent], (snapshots) => snapshots.find(s1, o))).rejects.toThrow();
  });

  it("lists those of a parent's volumes, and passes over those of file systems", async () => {
    const argv = `zfs get -Hp -d 2 -t snapshot -o name,property,value,source ${snapshotColumns} tank/zfsilo`;
    const parent = parseDatasetName("tank/zfsilo");
    const found = await against([{ argv, stdout: listed }], (snapshots) => snapshots.list(parent, o));
    expect(found.map(({ name, owner: mark }) => [name, mark])).toContainEqual(["tank/zfsilo/v3@byhand", undefined]);
    const ofFileSystem = listed.replaceAll("v3@byhand\tvolsize\t67108864\tlocal", "v3@byhand\tvolsize\t-\t-");
    expect(await against([{ argv, stdout: ofFileSystem }], (snapshots) => snapshots.list(parent, o))).toHaveLength(found.length - 1);
    await expect(against([{ argv, stdout: "tank/zfsilo/v1@s1\ttype\n" }], (snapshots) => snapshots.list(parent, o))).rejects.toThrow("read the output");
  });
});

describe("create", () => {
  const create = { argv: `zfs snapshot -o zfsilo:snapshot=snap_g ${v1s2} ${v2s2}` };
  const readBack = (change: (text: string) => string = (text) => text): ScriptedRun => ({ argv: get(`${v1s2} ${v2s2}`), stdout: change(both) });
  const take = (snapshots: ZfsSnapshots) => snapshots.create([v1s2, v2s2], { "zfsilo:snapshot": "snap_g" }, o);

  it("takes several in one command and reads them back", async () => {
    expect((await against([create, readBack()], take)).map(({ name }) => name)).toEqual([v1s2, v2s2]);
  });

  it.each([
    ["another's mark", (text: string) => text.replace("v2@s2\tzfsilo:snapshot\tsnap_g", "v2@s2\tzfsilo:snapshot\tsnap_x")],
    ["an inherited mark", (text: string) => text.replace("v2@s2\tzfsilo:snapshot\tsnap_g\tlocal", "v2@s2\tzfsilo:snapshot\tsnap_g\tinherited from tank")],
    ["another instant", (text: string) => text.replace("v2@s2\tcreatetxg\t33", "v2@s2\tcreatetxg\t34")],
  ])("does not report %s as done", async (_, change) => {
    await expect(against([create, readBack(change)], take)).rejects.toMatchObject({ reason: "internal" });
  });

  it("refuses before asking what can only be wrong", async () => {
    const mark = { "zfsilo:snapshot": "x" };
    for (const names of [[], [s1, v1s2], [s1, parseSnapshotName("dozer/v@s")]]) {
      await expect(against([], (snapshots) => snapshots.create(names, mark, o))).rejects.toMatchObject({ reason: "invalid_argument" });
    }
    await expect(against([], (snapshots) => snapshots.create([s1], { "zfsilo:snapshot": "" }, o))).rejects.toMatchObject({ reason: "invalid_argument" });
  });
});

describe("destroy", () => {
  const destroy = { argv: `zfs destroy ${s1}` };
  const free = (text: string): string => text.replace("userrefs\t2", "userrefs\t0");

  it("proves that it is gone", async () => {
    expect(await against([present(free), destroy, absent], (snapshots) => snapshots.destroy(s1, owner, {}, o))).toBe("destroyed");
    expect(await against([absent], (snapshots) => snapshots.destroy(s1, owner, {}, o))).toBe("destroyed");
    await expect(against([present(free), destroy, present(free)], (snapshots) => snapshots.destroy(s1, owner, {}, o))).rejects.toThrow("still there");
  });

  it.each([
    ["another snapshot's", owner, (text: string) => text.replace("snap_a", "snap_b")],
    ["one without a mark", owner, (text: string) => text.replace("snapshot\tsnap_a\tlocal", "snapshot\t-\t-")],
    ["one with an inherited mark", owner, (text: string) => text.replace("snap_a\tlocal", "snap_a\tinherited from tank/zfsilo/v1")],
    ["another cluster's", owner, (text: string) => text.replace("cl_test", "cl_other")],
  ])("leaves %s", async (_, expected, change) => {
    await expect(against([present(change)], (snapshots) => snapshots.destroy(s1, expected, { defer: true }, o))).rejects.toMatchObject({ reason: "precondition" });
  });

  const guid = "7627631462412141790";
  const gate = (change: (text: string) => string = (text) => text): ScriptedRun => ({
    argv: `zfs get -Hp -o property,value,source type,guid,defer_destroy,zfsilo:cluster,zfsilo:snapshot ${s1}`,
    stdout: change(`type\tsnapshot\t-\nguid\t${guid}\t-\ndefer_destroy\toff\t-\nzfsilo:cluster\tcl_test\tinherited from ${v1}\nzfsilo:snapshot\tsnap_a\tlocal\n`),
  });
  const known = { ...owner, guid };

  it("checks one whose guid is known in the exec that destroys it", async () => {
    expect(await against([gate(), destroy, absent], (snapshots) => snapshots.destroy(s1, known, {}, o))).toBe("destroyed");
    await expect(against([gate(), destroy, present(free)], (snapshots) => snapshots.destroy(s1, known, {}, o))).rejects.toThrow("still there");
    const gone = { argv: gate().argv, exitCode: 1, stderr: `cannot open '${s1}': dataset does not exist\n` };
    expect(await against([gone, absent], (snapshots) => snapshots.destroy(s1, known, {}, o))).toBe("destroyed");
    const put = { argv: `zfs destroy -d ${s1}` };
    const left = present((text) => text.replace("defer_destroy\toff", "defer_destroy\ton"));
    expect(await against([gate(), put, left], (snapshots) => snapshots.destroy(s1, known, { defer: true }, o))).toBe("deferred");
  });

  it.each([
    ["another guid", (text: string) => text.replace(guid, "1")],
    ["another snapshot's mark", (text: string) => text.replace("snap_a", "snap_b")],
    ["another cluster's volume", (text: string) => text.replaceAll("cl_test", "cl_other")],
  ])("stops before it destroys one with %s", async (_, change) => {
    const destroyed = against([gate(change), present(change)], (snapshots) => snapshots.destroy(s1, known, {}, o));
    await expect(destroyed).rejects.toMatchObject({ reason: "precondition" });
  });

  it("names the holds in the way", async () => {
    const busy = { ...destroy, exitCode: 1, stderr: failure("destroy-snapshot-held") };
    const holds = { argv: `zfs holds -H ${s1}`, stdout: readTestdata(import.meta.url, "holds.zfs-2.1.11.stdout.txt") };
    const error: unknown = await against([present(), busy, present(), holds], (snapshots) => snapshots.destroy(s1, owner, {}, o)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SnapshotInUseError);
    expect(error).toMatchObject({ reason: "busy", holds: ["backup", "other"], clones: [] });
  });

  it("waits for who lets go in a moment", async () => {
    const busy = { ...destroy, exitCode: 1, stderr: failure("destroy-snapshot-held") };
    const runs = [present(free), busy, present(free), destroy, absent];
    expect(await against(runs, (snapshots) => snapshots.destroy(s1, owner, {}, o))).toBe("destroyed");
  });

  it("tells whether its end was put off", async () => {
    const put = { argv: `zfs destroy -d ${s1}` };
    const deferred = present((text) => text.replace("defer_destroy\toff", "defer_destroy\ton"));
    expect(await against([present(), put, deferred], (snapshots) => snapshots.destroy(s1, owner, { defer: true }, o))).toBe("deferred");
    expect(await against([deferred], (snapshots) => snapshots.destroy(s1, owner, { defer: true }, o))).toBe("deferred");
    await expect(against([present(), put, present()], (snapshots) => snapshots.destroy(s1, owner, { defer: true }, o))).rejects.toThrow("still there");
  });
});

describe("hold and release", () => {
  const tag = parseHoldTag("backup");
  const holds = { argv: `zfs holds -H ${s1}`, stdout: readTestdata(import.meta.url, "holds.zfs-2.1.11.stdout.txt") };

  it("takes a tag that is there, or gone, for done, after looking", async () => {
    const twice = { argv: `zfs hold backup ${s1}`, exitCode: 1, stderr: readTestdata(import.meta.url, "hold-twice.zfs-2.1.11.exit-1.stderr.txt") };
    await against([twice, holds], (snapshots) => snapshots.hold(s1, tag, o));
    const unknown = { argv: `zfs release gone ${s1}`, exitCode: 1, stderr: readTestdata(import.meta.url, "release-unknown.zfs-2.1.11.exit-1.stderr.txt") };
    await against([present(), unknown, present(), holds], (snapshots) => snapshots.release(s1, parseHoldTag("gone"), o));
    await against([absent], (snapshots) => snapshots.release(s1, tag, o));
    await expect(against([{ argv: `zfs hold new ${s1}` }, holds], (snapshots) => snapshots.hold(s1, parseHoldTag("new"), o))).rejects.toThrow("no tag");
  });
});

describe("rollback", () => {
  it("never destroys a later snapshot that is not ours, nor starts on the others", async () => {
    const later = `${ofS1}\n${listed.split("\n").filter((line) => line.startsWith(`${v1}@s3\t`)).join("\n")}\n`;
    const byHand = later.replace("v1@s3\tzfsilo:snapshot\tsnap_b\tlocal", "v1@s3\tzfsilo:snapshot\t-\t-");
    await expect(against([{ argv: listOf, stdout: byHand }], (snapshots) => snapshots.rollback(s1, { destroyLater: true }, o))).rejects.toMatchObject({
      reason: "has_dependents",
    });
    await expect(against([{ argv: listOf, stdout: later }], (snapshots) => snapshots.rollback(s1, {}, o))).rejects.toMatchObject({
      reason: "has_dependents",
      details: { snapshots: `${v1}@s3` },
    });
  });

  it("does not call a volume rolled back that differs from the snapshot", async () => {
    const list = { argv: listOf, stdout: `${ofS1}\n` };
    const look = (written: number, volsize: number): ScriptedRun => ({
      argv: `zfs get -Hp -o name,property,value,source written,volsize tank ${v1}`,
      stdout: `tank\twritten\t24576\t-\n${v1}\twritten\t${written}\t-\n${v1}\tvolsize\t${volsize}\tlocal\n`,
    });
    const run = { argv: `zfs rollback ${s1}` };
    await against([list, run, list, look(1024, 67108864)], (snapshots) => snapshots.rollback(s1, {}, o));
    for (const bad of [look(65536, 67108864), look(0, 134217728)]) {
      await expect(against([list, run, list, bad], (snapshots) => snapshots.rollback(s1, {}, o))).rejects.toMatchObject({ reason: "internal" });
    }
  });
});
