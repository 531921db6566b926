import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName } from "./names.ts";
import { poolColumns, spaceColumns, volumeColumns } from "./parse.ts";
import { Zfs } from "./zfs.ts";

const dataset = parseDatasetName("tank/zfsilo/v1");
const get = (columns: string, names: string): string => `zfs get -Hp -o name,property,value,source ${columns} ${names}`;
const getV1 = get(volumeColumns, "tank tank/zfsilo/v1");
const stdout = readTestdata(import.meta.url, "get-volume-sparse.zfs-2.1.11.stdout.txt");
const poolOnly = readTestdata(import.meta.url, "get-volume-absent.zfs-2.1.11.stdout.txt");

const present = (change: (text: string) => string = (text) => text): ScriptedRun => ({ argv: getV1, stdout: change(stdout) });
const absent: ScriptedRun = {
  argv: getV1,
  exitCode: 1,
  stdout: poolOnly,
  stderr: "cannot open 'tank/zfsilo/v1': dataset does not exist\n",
};
const poolMissing: ScriptedRun = {
  argv: getV1,
  exitCode: 1,
  stderr: "cannot open 'tank': dataset does not exist\ncannot open 'tank/zfsilo/v1': dataset does not exist\n",
};
const withSize = (size: number) => (text: string) => text.replaceAll("volsize\t268435456", `volsize\t${size}`);

/** Runs `work` against exactly these commands. */
async function against<T>(runs: ScriptedRun[], work: (zfs: Zfs) => Promise<T>): Promise<T> {
  const executor = new ScriptedExecutor({ runs });
  try {
    return await work(new Zfs(executor));
  } finally {
    expect(executor.leftOver).toBe(0);
  }
}

describe("findVolume", () => {
  it("finds one", async () => {
    expect(await against([present()], (zfs) => zfs.findVolume(dataset, o))).toMatchObject({ sizeBytes: 268435456n });
  });

  it("is undefined only while the pool is there", async () => {
    expect(await against([absent], (zfs) => zfs.findVolume(dataset, o))).toBeUndefined();
    await expect(against([poolMissing], (zfs) => zfs.findVolume(dataset, o))).rejects.toMatchObject({ reason: "unavailable" });
  });

  it.each([
    { stdout: poolOnly, stderr: "internal error: out of memory\n" },
    { stdout: poolOnly, stderr: "cannot open 'tank/other': dataset does not exist\n" },
    { stdout: "", stderr: "" },
  ])("never reads absence out of another failure: %j", async (result) => {
    const run = { argv: getV1, exitCode: 1, ...result };
    await expect(against([run], (zfs) => zfs.findVolume(dataset, o))).rejects.toThrow();
  });

  it("refuses a file system of that name", async () => {
    const filesystem = present((text) => text.replace("v1\ttype\tvolume", "v1\ttype\tfilesystem"));
    await expect(against([filesystem], (zfs) => zfs.findVolume(dataset, o))).rejects.toMatchObject({ reason: "precondition" });
  });
});

describe("createVolume", () => {
  const spec = {
    dataset,
    sizeBytes: bytes(268435456),
    sparse: true,
    options: { volblocksize: "16384", compression: "lz4" },
    userProperties: { "zfsilo:volume": "vol_a", "zfsilo:cluster": "cl_test" },
  };
  const create =
    "zfs create -s -V 268435456 -o volblocksize=16384 -o compression=lz4 -o zfsilo:cluster=cl_test -o zfsilo:volume=vol_a tank/zfsilo/v1";

  it("marks the volume in the same command, and reads it back", async () => {
    expect(await against([{ argv: create }, present()], (zfs) => zfs.createVolume(spec, o))).toMatchObject({ dataset });
  });

  it("does not report a size that zfs rounded", async () => {
    const runs = [{ argv: create }, present(withSize(268451840))];
    await expect(against(runs, (zfs) => zfs.createVolume(spec, o))).rejects.toMatchObject({ reason: "invalid_argument" });
  });

  it("says that it exists", async () => {
    const refused = { argv: create, exitCode: 1, stderr: "cannot create 'tank/zfsilo/v1': dataset already exists\n" };
    await expect(against([refused], (zfs) => zfs.createVolume(spec, o))).rejects.toMatchObject({ reason: "already_exists" });
  });

  it.each([
    ["no size", { sizeBytes: bytes(0) }],
    ["a size between blocks", { sizeBytes: bytes(268435457) }],
    ["a tab in a property", { userProperties: { "zfsilo:name": "a\tb" } }],
    ["an empty property", { userProperties: { "zfsilo:name": "" } }],
  ])("refuses %s before asking", async (_, bad) => {
    await expect(against([], (zfs) => zfs.createVolume({ ...spec, ...bad }, o))).rejects.toMatchObject({
      reason: "invalid_argument",
    });
  });
});

describe("growVolume", () => {
  it("refuses to shrink before zfs sees it", async () => {
    await expect(against([present()], (zfs) => zfs.growVolume(dataset, bytes(268435455), o))).rejects.toMatchObject({
      reason: "invalid_argument",
    });
  });

  it("does nothing when the size is right", async () => {
    await against([present()], (zfs) => zfs.growVolume(dataset, bytes(268435456), o));
  });

  it("grows and reads back", async () => {
    const set = { argv: "zfs set volsize=536870912 tank/zfsilo/v1" };
    const runs = [present(), set, present(withSize(536870912))];
    expect(await against(runs, (zfs) => zfs.growVolume(dataset, bytes(536870912), o))).toMatchObject({ sizeBytes: 536870912n });
    await expect(
      against([present(), set, present()], (zfs) => zfs.growVolume(dataset, bytes(536870912), o)),
    ).rejects.toMatchObject({ reason: "internal" });
  });
});

const guid = "17758524824568895114";

describe("growKnownVolume", () => {
  const known = { volume: "vol_a", cluster: "cl_test", guid, sizeBytes: bytes(268435456), encrypted: false };
  const set = { argv: "zfs set volsize=536870912 tank/zfsilo/v1" };
  const gate = (change: (text: string) => string = (text) => text): ScriptedRun => ({
    argv: "zfs get -Hp -o property,value,source type,guid,zfsilo:volume,zfsilo:cluster,volsize,keystatus tank/zfsilo/v1",
    stdout: change(`type\tvolume\t-\nguid\t${guid}\t-\nzfsilo:volume\tvol_a\tlocal\nzfsilo:cluster\tcl_test\tlocal\nvolsize\t268435456\tlocal\nkeystatus\t-\t-\n`),
  });
  const grow = (runs: ScriptedRun[], to = 536870912) => against(runs, (zfs) => zfs.growKnownVolume(dataset, known, bytes(to), o));

  it("checks, grows and reads back", async () => {
    expect(await grow([gate(), set, present(withSize(536870912))])).toMatchObject({ sizeBytes: 536870912n });
    await expect(grow([gate(), set, present()])).rejects.toMatchObject({ reason: "internal" });
  });

  it.each([
    ["has another size", gate((text) => text.replace("268435456", "536870912"))],
    ["is another's", gate((text) => text.replace("vol_a", "vol_b"))],
    ["was made again", gate((text) => text.replace(guid, "1"))],
    ["is locked", gate((text) => text.replace("keystatus\t-", "keystatus\tunavailable"))],
    ["is gone", { argv: gate().argv, exitCode: 1, stderr: "cannot open 'tank/zfsilo/v1': dataset does not exist\n" }],
  ])("does nothing to one that %s", async (_, seen) => {
    expect(await grow([seen])).toBeUndefined();
  });

  it("never shrinks", async () => {
    expect(await grow([], 268435455)).toBeUndefined();
  });

  it("says why zfs refuses", async () => {
    const refused = { ...set, exitCode: 1, stderr: "cannot set property for 'tank/zfsilo/v1': size is greater than available space\n" };
    await expect(grow([gate(), refused])).rejects.toMatchObject({ reason: "no_space" });
  });
});

describe("destroy", () => {
  const gate = () => ({
    argv: "zfs get -Hp -o property,value,source type,guid,zfsilo:volume,zfsilo:cluster tank/zfsilo/v1",
    stdout: `type\tvolume\t-\nguid\t${guid}\t-\nzfsilo:volume\tvol_a\tlocal\nzfsilo:cluster\tcl_test\tlocal\n`,
  });
  const destroy = { argv: "zfs destroy tank/zfsilo/v1" };
  const busy = { ...destroy, exitCode: 1, stderr: "cannot destroy 'tank/zfsilo/v1': dataset is busy\n" };
  const settle = { argv: "udevadm settle --timeout=5" };
  const owner = { volume: "vol_a", cluster: "cl_test" };

  it("waits for udev when busy, and proves that it is gone", async () => {
    await against([destroy, absent], (zfs) => zfs.destroyVolume(dataset, o));
    await against([busy, settle, busy, settle, destroy, absent], (zfs) => zfs.destroyVolume(dataset, o));
  });

  it("does not call a missing pool gone", async () => {
    const missing = { ...destroy, exitCode: 1, stderr: "cannot open 'tank/zfsilo/v1': dataset does not exist\n" };
    await expect(against([missing, poolMissing], (zfs) => zfs.destroyVolume(dataset, o))).rejects.toMatchObject({
      reason: "unavailable",
    });
  });

  it("leaves dependents alone", async () => {
    const refused = { ...destroy, exitCode: 1, stderr: readTestdata(import.meta.url, "destroy-has-snapshots.zfs-2.1.11.exit-1.stderr.txt") };
    await expect(against([refused], (zfs) => zfs.destroyVolume(dataset, o))).rejects.toMatchObject({ reason: "has_dependents" });
  });

  it("never takes a pool", async () => {
    await expect(against([], (zfs) => zfs.destroyVolume(parseDatasetName("tank"), o))).rejects.toThrow("is a pool");
  });

  it("destroys its own, and only its own", async () => {
    await against([present(), destroy, absent], (zfs) => zfs.destroyOwnedVolume(dataset, owner, o));
    await against([absent], (zfs) => zfs.destroyOwnedVolume(dataset, owner, o));
    for (const foreign of [
      { ...owner, volume: "vol_b" },
      { ...owner, cluster: "cl_other" },
    ]) {
      await expect(against([present()], (zfs) => zfs.destroyOwnedVolume(dataset, foreign, o))).rejects.toMatchObject({
        reason: "precondition",
      });
    }
  });

  it("checks a volume whose guid is known in the exec that destroys it", async () => {
    const known = { ...owner, guid };
    await against([gate(), destroy, absent], (zfs) => zfs.destroyOwnedVolume(dataset, known, o));
    await expect(against([gate(), destroy, present()], (zfs) => zfs.destroyOwnedVolume(dataset, known, o))).rejects.toThrow("still there");
    await against([gate(), busy, settle, gate(), destroy, absent], (zfs) => zfs.destroyOwnedVolume(dataset, known, o));
    const gone = { argv: gate().argv, exitCode: 1, stderr: "cannot open 'tank/zfsilo/v1': dataset does not exist\n" };
    await against([gone, absent], (zfs) => zfs.destroyOwnedVolume(dataset, known, o));
    await expect(against([gone, poolMissing], (zfs) => zfs.destroyOwnedVolume(dataset, known, o))).rejects.toMatchObject({ reason: "unavailable" });
  });

  it.each([
    ["another guid", (text: string) => text.replace(guid, "1")],
    ["another mark", (text: string) => text.replace("vol_a", "vol_b")],
    ["an inherited mark", (text: string) => text.replace("cl_test\tlocal", "cl_test\tinherited from tank/zfsilo")],
    ["another type", (text: string) => text.replace("v1\ttype\tvolume", "v1\ttype\tfilesystem").replace("type\tvolume\t-\nguid", "type\tfilesystem\t-\nguid")],
  ])("stops before it destroys one with %s", async (_, change) => {
    const seen = { argv: gate().argv, stdout: change(gate().stdout) };
    await expect(against([seen, present(change)], (zfs) => zfs.destroyOwnedVolume(dataset, { ...owner, guid }, o))).rejects.toMatchObject({
      reason: "precondition",
    });
  });

  it("does not take an inherited mark for ownership", async () => {
    const inherited = present((text) => text.replace("cl_test\tlocal", "cl_test\tinherited from tank/zfsilo"));
    await expect(against([inherited], (zfs) => zfs.destroyOwnedVolume(dataset, owner, o))).rejects.toMatchObject({
      reason: "precondition",
    });
  });
});

describe("the rest", () => {
  it("sets properties and reads each back", async () => {
    const set = { argv: "zfs set zfsilo:formatted=ext4:1 tank/zfsilo/v1" };
    const after = present((text) => text.replace(/(v1\tzfsilo:formatted\t)-\t-/, "$1ext4:1\tlocal"));
    const made = await against([set, after], (zfs) => zfs.setProperties(dataset, {}, { "zfsilo:formatted": "ext4:1" }, o));
    expect(made.formatted).toBe("ext4:1");
    await expect(
      against([set, present()], (zfs) => zfs.setProperties(dataset, {}, { "zfsilo:formatted": "ext4:1" }, o)),
    ).rejects.toMatchObject({ reason: "internal" });
  });

  it("lists a parent's volumes in one command", async () => {
    const list = `zfs get -Hp -d 1 -t volume -o name,property,value,source ${volumeColumns} tank/zfsilo`;
    const run = { argv: list, stdout: readTestdata(import.meta.url, "get-parent-children.zfs-2.1.11.stdout.txt") };
    const parent = parseDatasetName("tank/zfsilo");
    expect(await against([run], (zfs) => zfs.listVolumes(parent, o))).toHaveLength(3);
    const missing = { argv: list, exitCode: 1, stderr: "cannot open 'tank/zfsilo': dataset does not exist\n" };
    const noPool = { argv: `zpool list -Hp -o ${poolColumns} tank`, exitCode: 1, stderr: "cannot open 'tank': no such pool\n" };
    await expect(against([missing, noPool], (zfs) => zfs.listVolumes(parent, o))).rejects.toMatchObject({ reason: "unavailable" });
  });

  it("makes a container only under what exists", async () => {
    const look = get(spaceColumns, "tank tank/zfsilo");
    const parent = parseDatasetName("tank/zfsilo");
    const space = { argv: look, stdout: readTestdata(import.meta.url, "get-space.zfs-2.1.11.stdout.txt") };
    const none = {
      argv: look,
      exitCode: 1,
      stdout: poolOnly,
      stderr: "cannot open 'tank/zfsilo': dataset does not exist\n",
    };
    const create = { argv: "zfs create -o mountpoint=none -o canmount=off tank/zfsilo" };
    await against([space], (zfs) => zfs.ensureFilesystem(parent, o));
    await against([none, create, space], (zfs) => zfs.ensureFilesystem(parent, o));
    const orphan = { ...create, exitCode: 1, stderr: "cannot create 'tank/zfsilo': parent does not exist\n" };
    await expect(against([none, orphan], (zfs) => zfs.ensureFilesystem(parent, o))).rejects.toMatchObject({
      reason: "precondition",
    });
  });

  it("reads the version", async () => {
    const run = { argv: "zfs version", stdout: readTestdata(import.meta.url, "version.zfs-2.1.11.stdout.txt") };
    expect(await against([run], (zfs) => zfs.version(o))).toBe("2.1.11-1+deb12u1");
  });
});
