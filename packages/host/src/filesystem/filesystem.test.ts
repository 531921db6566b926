import { describe, expect, it } from "vitest";
import { parseHostPath } from "../mount/host-path.ts";
import { parseDatasetName } from "../zfs/names.ts";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { Filesystems } from "./filesystem.ts";
import { mkfsArguments, parseMkfsOptions } from "./mkfs-options.ts";
import { parseBlkid, parseStatfs } from "./parse.ts";
import type { FsType } from "./types.ts";

const read = (file: string): string => readTestdata(import.meta.url, file);
const ext4Uuid = "11111111-2222-4333-8444-555555555555";
const xfsUuid = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const blkid = { argv: "blkid -p -o export /dev/sda" };
const silent = { ...blkid, exitCode: 2 };
const zeros = { argv: "cmp -n 1048576 /dev/sda /dev/zero" };
const isExt4 = { ...blkid, stdout: read("ext4.blkid-2.38.1.stdout.txt") };
const isXfs = { ...blkid, stdout: read("xfs.blkid-2.38.1.stdout.txt") };

async function against<T>(runs: ScriptedRun[], work: (filesystems: Filesystems) => Promise<T>): Promise<T> {
  const executor = new ScriptedExecutor({ runs });
  try {
    return await work(new Filesystems(executor));
  } finally {
    expect(executor.leftOver).toBe(0);
  }
}

describe("probe", () => {
  const probe = (runs: ScriptedRun[]) => against(runs, (filesystems) => filesystems.probe("/dev/sda", o));

  it.each([
    [[isExt4], { kind: "filesystem", type: "ext4", uuid: ext4Uuid }],
    [[isXfs], { kind: "filesystem", type: "xfs", uuid: xfsUuid }],
    [[{ ...blkid, stdout: "DEVNAME=/dev/sda\nPTUUID=1\nPTTYPE=gpt\n" }], { kind: "other", description: "gpt partition table" }],
    [[{ ...blkid, stdout: "UUID=x\nTYPE=LVM2_member\nUSAGE=raid\n" }], { kind: "other", description: "LVM2_member" }],
    [[{ ...blkid, exitCode: 8, stderr: "ambivalent result" }], { kind: "other", description: "signatures of several kinds" }],
    [[silent, zeros], { kind: "blank" }],
    [
      [silent, { ...zeros, exitCode: 1, stdout: "/dev/sda /dev/zero differ: char 1027, line 1\n" }],
      { kind: "data" },
    ],
  ])("tells what is there (%#)", async (runs, found) => {
    expect(await probe(runs)).toEqual(found);
  });

  it.each([
    ["the device cannot be read", [silent, { ...zeros, exitCode: 2, stderr: "cmp: /dev/sda: Input/output error\n" }]],
    ["the device ends early", [silent, { ...zeros, exitCode: 1, stderr: "cmp: EOF on /dev/sda after byte 32768\n" }]],
    ["blkid complains", [{ ...silent, stderr: "error: /dev/sda: Input/output error\n" }]],
    ["blkid fails otherwise", [{ ...blkid, exitCode: 4 }]],
    ["blkid answers garbage", [{ ...blkid, stdout: "DEVNAME=/dev/sda\n" }]],
  ])("never says blank when %s", async (_, runs) => {
    await expect(probe(runs)).rejects.toThrow();
  });

  it.each(["-x", "sda", "/dev/../etc/passwd", "/dev/sd a", "/tmp/x"])("refuses %j", async (device) => {
    await expect(against([], (filesystems) => filesystems.probe(device, o))).rejects.toThrow("not a device path");
  });

  it("reads escaped labels", () => {
    expect(parseBlkid("UUID=u\nLABEL=my\\ data\nTYPE=ext4\nUSAGE=filesystem\n")).toMatchObject({ label: "my data" });
  });
});

describe("isComplete", () => {
  const isComplete = (type: FsType, run: Partial<ScriptedRun>) => {
    const argv = type === "ext4" ? "e2fsck -f -n /dev/sda" : "xfs_db -r -c sb 0 -c print inprogress /dev/sda";
    return against([{ argv, ...run }], (filesystems) => filesystems.isComplete("/dev/sda", type, o));
  };

  it.each<[FsType, boolean, Partial<ScriptedRun>]>([
    ["xfs", false, { stdout: read("xfs_db-inprogress.xfsprogs-6.1.0.stdout.txt") }],
    ["xfs", true, { stdout: "inprogress = 0\n" }],
    ["ext4", true, {}],
    ["ext4", false, { exitCode: 4 }],
    ["ext4", false, { exitCode: 12, stderr: "e2fsck: The journal superblock is corrupt while checking journal for /dev/sda\n" }],
  ])("tells a whole %s: %s", async (type, expected, run) => {
    expect(await isComplete(type, run)).toBe(expected);
  });

  it.each<[string, FsType, Partial<ScriptedRun>]>([
    ["of an answer that says nothing", "xfs", { stdout: "" }],
    ["of a device without xfs", "xfs", { exitCode: 1, stderr: "xfs_db: /dev/sda is not a valid XFS filesystem" }],
    ["of a device that gives errors", "ext4", { exitCode: 12, stdout: "Error reading block 0 (Input/output error)." }],
    ["of a check that could not run", "ext4", { exitCode: 8 }],
  ])("makes nothing %s", async (_what, type, run) => {
    await expect(isComplete(type, run)).rejects.toThrow();
  });
});

describe("eraseStart", () => {
  const dataset = parseDatasetName("tank/zfsilo/v1");
  const dd = { argv: "dd if=/dev/zero of=/dev/zvol/tank/zfsilo/v1 bs=1048576 count=1 conv=nocreat,fsync" };

  it("writes over what a probe reads, of a volume that is there", async () => {
    await against([dd], (filesystems) => filesystems.eraseStart(dataset, o));
    const missing = { ...dd, exitCode: 1, stderr: "dd: failed to open '/dev/zvol/tank/zfsilo/v1': No such file or directory\n" };
    await expect(against([missing], (filesystems) => filesystems.eraseStart(dataset, o))).rejects.toMatchObject({ reason: "not_found" });
  });
});

describe("make", () => {
  const make = (type: FsType, uuid: string, runs: ScriptedRun[], options = {}) =>
    against(runs, (filesystems) => filesystems.make({ device: "/dev/sda", type, uuid, options }, o));
  const mkfsExt4 = { argv: `mkfs.ext4 -q -U ${ext4Uuid} -E nodiscard,lazy_itable_init=1 /dev/sda` };

  it("probes, makes, and reads the UUID back", async () => {
    await make("ext4", ext4Uuid, [silent, zeros, mkfsExt4, isExt4]);
    const xfs = { argv: `mkfs.xfs -q -K -m uuid=${xfsUuid} -i size=1024 /dev/sda` };
    await make("xfs", xfsUuid, [silent, zeros, xfs, isXfs], { inode_size: "1024" });
  });

  it("lays an ext4 on a device of known size out for growth", async () => {
    const mkfs = { argv: `mkfs.ext4 -q -U ${ext4Uuid} -E nodiscard,lazy_itable_init=1,resize=268435456 -b 4096 -i 16384 -m 0 /dev/sda` };
    const run = (filesystems: Filesystems) =>
      filesystems.make({ device: "/dev/sda", type: "ext4", uuid: ext4Uuid, options: { reserved_percent: "0" }, deviceBytes: 64n << 20n }, o);
    expect(await against([silent, zeros, mkfs, isExt4], run)).toBe("made");
  });

  it("says so when it is there already, and makes none", async () => {
    expect(await make("ext4", ext4Uuid, [silent, zeros, mkfsExt4, isExt4])).toBe("made");
    expect(await make("ext4", ext4Uuid, [isExt4, { argv: "e2fsck -f -n /dev/sda" }])).toBe("present");
  });

  it("does not take what an interrupted mkfs left for made", async () => {
    const unfinished = { argv: "xfs_db -r -c sb 0 -c print inprogress /dev/sda", stdout: "inprogress = 1\n" };
    await expect(make("xfs", xfsUuid, [isXfs, unfinished])).rejects.toMatchObject({ details: { reason: "NOT_BLANK" } });
  });

  it("erases what an interrupted mkfs left, and nothing else", async () => {
    let erased = 0;
    const eraseUnfinished = (): Promise<void> => {
      erased += 1;
      return Promise.resolve();
    };
    const makeXfs = (runs: ScriptedRun[]) =>
      against(runs, (filesystems) => filesystems.make({ device: "/dev/sda", type: "xfs", uuid: xfsUuid, options: {}, eraseUnfinished }, o));
    const inProgress = { argv: "xfs_db -r -c sb 0 -c print inprogress /dev/sda" };
    const mkfs = { argv: `mkfs.xfs -q -K -m uuid=${xfsUuid} /dev/sda` };
    const data = { ...zeros, exitCode: 1, stdout: "/dev/sda /dev/zero differ: char 1027, line 1\n" };
    expect(await makeXfs([isXfs, { ...inProgress, stdout: "inprogress = 0\n" }])).toBe("present");
    await expect(makeXfs([isExt4])).rejects.toMatchObject({ details: { reason: "NOT_BLANK" } });
    await expect(makeXfs([{ ...blkid, exitCode: 8 }])).rejects.toMatchObject({ details: { reason: "NOT_BLANK" } });
    expect(erased).toBe(0);
    expect(await makeXfs([isXfs, { ...inProgress, stdout: "inprogress = 1\n" }, silent, zeros, mkfs, isXfs])).toBe("made");
    expect(await makeXfs([silent, data, silent, zeros, mkfs, isXfs])).toBe("made");
    await expect(makeXfs([silent, data, silent, data])).rejects.toMatchObject({ details: { reason: "NOT_BLANK" } });
    expect(erased).toBe(3);
  });

  it("begins once the device was found blank, and not before", async () => {
    const begin = (): Promise<void> => Promise.reject(new Error("as the test wants it"));
    const makeIt = (runs: ScriptedRun[]) =>
      against(runs, (filesystems) => filesystems.make({ device: "/dev/sda", type: "ext4", uuid: ext4Uuid, options: {}, begin }, o));
    await expect(makeIt([isXfs])).rejects.toMatchObject({ reason: "precondition" });
    await expect(makeIt([silent, zeros])).rejects.toThrow("as the test wants it");
  });

  it.each([
    ["another of its type", "ext4", xfsUuid, [isExt4]],
    ["another type with its UUID", "ext4", xfsUuid, [isXfs]],
    ["what blkid cannot tell", "ext4", ext4Uuid, [{ ...blkid, exitCode: 8 }]],
  ] as const)("touches nothing that holds %s", async (_, type, uuid, runs) => {
    await expect(make(type, uuid, [...runs])).rejects.toMatchObject({ reason: "precondition", details: { reason: "NOT_BLANK" } });
  });

  it("reports no filesystem that is not the one asked for", async () => {
    await expect(make("ext4", ext4Uuid, [silent, zeros, mkfsExt4, isXfs])).rejects.toMatchObject({ reason: "internal" });
  });

  it.each(["", "-F", ext4Uuid.toUpperCase().replace("1", "A"), `${ext4Uuid} -F`])("refuses the UUID %j", async (uuid) => {
    await expect(make("ext4", uuid, [])).rejects.toMatchObject({ reason: "invalid_argument" });
  });

  it("has no option that forces", () => {
    for (const type of ["ext4", "xfs"] as const) {
      for (const name of ["force", "-F", "f", "discard", "__proto__", "constructor"]) {
        expect(() => parseMkfsOptions(type, JSON.parse(`{${JSON.stringify(name)}:"1"}`) as Record<string, string>)).toThrow(
          /mkfs_options/,
        );
      }
    }
  });

  it.each([
    ["ext4", { inode_size: "256", block_size: "4096", reserved_percent: "0" }, ["-b", "4096", "-I", "256", "-m", "0"]],
    ["ext4", { orphan_file: "0", "64bit": "1", metadata_csum: "0", inodes: "99" }, ["-O", "64bit,^metadata_csum,^orphan_file", "-N", "99"]],
    ["xfs", { sector_size: "4096" }, ["-s", "size=4096"]],
    ["xfs", { reflink: "0", bigtime: "0", nrext64: "0", inobtcount: "1" }, ["-m", "bigtime=0", "-m", "inobtcount=1", "-i", "nrext64=0", "-m", "reflink=0"]],
  ] as const)("writes %s options in order of their names", (type, options, argv) => {
    expect(mkfsArguments(type, options)).toEqual(argv);
  });

  it.each([
    ["ext4", { block_size: "3000" }],
    ["ext4", { reserved_percent: "51" }],
    ["ext4", { bytes_per_inode: "1 -F" }],
    ["ext4", { orphan_file: "no" }],
    ["ext4", { reflink: "0" }],
    ["xfs", { reflink: "2" }],
    ["xfs", { reserved_percent: "1" }],
    ["xfs", { block_size: "4096\n" }],
  ] as const)("refuses the %s options %j", (type, options) => {
    expect(() => parseMkfsOptions(type, options)).toThrow(expect.objectContaining({ reason: "invalid_argument" }));
  });
});

describe("check", () => {
  const check = (type: FsType, run: Omit<ScriptedRun, "argv">) => {
    const argv = type === "ext4" ? "e2fsck -p /dev/sda" : "xfs_repair -n /dev/sda";
    return against([{ argv, ...run }], (filesystems) => filesystems.check("/dev/sda", type, o));
  };

  it.each([
    ["ext4", 0, "clean"],
    ["ext4", 1, "repaired"],
    ["ext4", 4, "damaged"],
    ["xfs", 0, "clean"],
    ["xfs", 1, "damaged"],
    ["xfs", 2, "needs_mount"],
  ] as const)("%s exit %i is %s", async (type, exitCode, state) => {
    expect(await check(type, { exitCode, stdout: "bad entry" })).toMatchObject({ state });
  });

  it("reads the captured answer of a clean one", async () => {
    const stdout = read("e2fsck-clean.e2fsprogs-1.47.0.stdout.txt");
    expect(await check("ext4", { stdout })).toEqual({ state: "clean", output: stdout.trim() });
  });

  it("takes what xfs_repair finds beside a dirty log for nothing: the log replays at mount", async () => {
    const stderr = read("xfs_repair-n-dirty-log.xfsprogs-6.1.0.txt");
    expect(await check("xfs", { exitCode: 1, stderr })).toEqual({ state: "needs_mount", output: stderr.trim() });
  });

  it.each([
    ["ext4", { exitCode: 8, stderr: "e2fsck: Input/output error" }],
    ["xfs", { exitCode: 1, stderr: "Couldn't find a valid superblock" }],
    ["xfs", { exitCode: 1, stderr: "/dev/sda: No such file or directory" }],
  ] as const)("does not take a check that could not run for an answer (%#)", async (type, run) => {
    await expect(check(type, run)).rejects.toThrow();
  });
});

describe("size and use", () => {
  it.each([
    ["ext4", "dumpe2fs -h /dev/sda", "dumpe2fs.e2fsprogs-1.47.0.stdout.txt", { sizeBytes: 268435456n, ext4: { blockBytes: 1024, wide: true } }],
    ["ext4", "dumpe2fs -h /dev/sda", "dumpe2fs-mounted.e2fsprogs-1.47.0.stdout.txt", { sizeBytes: 536870912n, ext4: { blockBytes: 1024, wide: true } }],
    ["xfs", "xfs_info /dev/sda", "xfs_info.xfsprogs-6.1.0.stdout.txt", { sizeBytes: 536870912n }],
  ] as const)("reads the extent of %s", async (type, argv, file, extent) => {
    const run = { argv, stdout: read(file) };
    expect(await against([run], (filesystems) => filesystems.extent("/dev/sda", type, o))).toEqual(extent);
    await expect(against([{ argv }], (filesystems) => filesystems.sizeBytes("/dev/sda", type, o))).rejects.toMatchObject({
      reason: "internal",
    });
  });

  it("grows by the tool of each kind", async () => {
    const mountPoint = parseHostPath("/mnt/a");
    const nothing = { argv: "resize2fs /dev/sda", stderr: "The filesystem is already 524288 (1k) blocks long.  Nothing to do!\n" };
    await against([nothing], (filesystems) => filesystems.grow({ device: "/dev/sda", mountPoint, type: "ext4" }, o));
    const xfs = { argv: "xfs_growfs /mnt/a" };
    await against([xfs], (filesystems) => filesystems.grow({ device: "/dev/sda", mountPoint, type: "xfs" }, o));
  });

  it("reads statfs", async () => {
    const run = { argv: "stat -f -c %S/%b/%f/%a/%c/%d /mnt/a", stdout: "1024/235431/235417/218214/65536/65525\n" };
    expect(await against([run], (filesystems) => filesystems.stats(parseHostPath("/mnt/a"), o))).toEqual({
      totalBytes: 241081344n,
      freeBytes: 241067008n,
      availableBytes: 223451136n,
      totalInodes: 65536n,
      freeInodes: 65525n,
    });
    expect(() => parseStatfs("1/2/3")).toThrow();
  });
});
