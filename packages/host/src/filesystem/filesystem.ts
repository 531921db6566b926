import { CommandOutputError, type Argv, type CallOptions, type Executor } from "@zfsilo/command";
import { assertNever, invalidField, StorageError, type Bytes } from "@zfsilo/lib";
import type { HostPath } from "../mount/host-path.ts";
import { Tool, withTimeout } from "../tool.ts";
import { zvolPath, type DatasetName } from "../zfs/names.ts";
import { filesystemFailures } from "./errors.ts";
import { ext4Arguments } from "./ext4-layout.ts";
import { mkfsArguments, type MkfsOptions } from "./mkfs-options.ts";
import { parseBlkid, parseDumpe2fs, parseStatfs, parseXfsInfo, parseXfsInProgress } from "./parse.ts";
import { describeProbe, isFilesystem, type CheckResult, type FsExtent, type FsStats, type FsType, type Probe } from "./types.ts";

export interface MakeFilesystem {
  readonly device: string;
  readonly type: FsType;
  readonly uuid: string;
  readonly options: MkfsOptions;
  /** Of the device, which decides how an ext4 is laid out so that it can grow. Without it mkfs decides. */
  readonly deviceBytes?: bigint;
  /** Called once the device was found blank, before anything is written to it. */
  readonly begin?: () => Promise<void>;
  /**
   * Makes the device blank again. Given when a mkfs of this filesystem began there before, on the blank device: what no tool
   * recognises, or is this filesystem and not whole, is what it left.
   */
  readonly eraseUnfinished?: (() => Promise<void>) | undefined;
}

const uuidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** blkid's exits: nothing found, and more than one thing found (blkid(8)). */
const nothingFound = 2;
const ambivalent = 8;
/** A bit of what e2fsck exits with (e2fsck(8)). Where much is missing it comes with 8, "could not run". */
const damageLeft = 4;
/** Every signature that blkid knows within reach of a mistake lies in the first MiB; a fresh zvol reads as zeros there. */
const blankBytes = 1 << 20;
const makeTimeoutMs = 300_000;
const checkTimeoutMs = 600_000;
/**
 * Of what reads a few blocks of a device. Its session may be coming back, and a host with much to do may take half a minute for
 * them (seen of cmp); who gives up sooner only reads the same again.
 */
const readTimeoutMs = 120_000;
/** A stat on a dead device hangs; nobody should wait long for a number. */
const statTimeoutMs = 5000;

/** Filesystems on block devices: what is there, making, growing, checking. */
export class Filesystems {
  readonly #executor: Executor;
  readonly #tool: Tool;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#tool = new Tool(executor, filesystemFailures);
  }

  /**
   * What is on the device. `blank` only when blkid finds nothing AND the first MiB was read and is all zeros: blkid exits
   * alike for "nothing there" and "could not read" (I2). Throws when it cannot tell.
   */
  async probe(device: string, o: CallOptions): Promise<Probe> {
    requireDevice(device);
    const argv: Argv = ["blkid", "-p", "-o", "export", device];
    const result = await this.#tool.exit(argv, withTimeout(o, readTimeoutMs));
    if (result.exitCode === 0) return this.#read(argv, result.stdout, parseBlkid);
    if (result.exitCode === ambivalent) return { kind: "other", description: "signatures of several kinds" };
    const silent = result.stdout.trim() === "" && result.stderr.trim() === "";
    if (result.exitCode !== nothingFound || !silent) throw this.#tool.failure(`probe ${device}`, argv, result);
    return await this.#probeZeros(device, o);
  }

  /**
   * Makes a filesystem on a blank device and reads its UUID back. This one there, and whole, is `present`, anything else refused.
   * mkfs.ext4 without a terminal overwrites whatever is there (hosts.md), so the probe right before is ours to do. Discarding is
   * skipped: the volume is fresh, and it takes minutes.
   */
  async make({ device, type, uuid, options, deviceBytes = 0n, begin, eraseUnfinished }: MakeFilesystem, o: CallOptions): Promise<"made" | "present"> {
    if (!uuidPattern.test(uuid)) throw invalidField("uuid", "is not a lower-case UUID");
    const doing = `make ${type} on ${device}`;
    const extra = mkfsArguments(type, options);
    const argv = makeArgv(type, uuid, type === "ext4" ? [...ext4Arguments(options, deviceBytes), ...extra] : extra, device);
    let before = await this.probe(device, o);
    const isHere = isFilesystem(before, type, uuid);
    if (isHere && (await this.isComplete(device, type, o))) return "present";
    // Any other signature is somebody's.
    if (eraseUnfinished !== undefined && (isHere || before.kind === "data")) {
      await eraseUnfinished();
      before = await this.probe(device, o);
    }
    if (before.kind !== "blank") {
      const held = isHere ? `the beginning of ${describeProbe(before)}` : describeProbe(before);
      throw new StorageError("precondition", `${doing} on ${this.#executor.host}: it holds ${held}`, {
        details: { host: this.#executor.host, reason: "NOT_BLANK" },
        hint: "A device that holds anything is never formatted. Nothing was changed.",
      });
    }
    await begin?.();
    await this.#tool.run(doing, argv, withTimeout(o, makeTimeoutMs));
    const after = await this.probe(device, o);
    if (isFilesystem(after, type, uuid)) return "made";
    throw new StorageError("internal", `${doing} on ${this.#executor.host}: it reads back as ${describeProbe(after)}`, {
      details: { host: this.#executor.host },
    });
  }

  /**
   * Whether the filesystem that a probe found was made to its end. Changes nothing. The superblock of xfs says so
   * (sb_inprogress, fs/xfs/libxfs/xfs_format.h). That of ext4 is written last, but into a cache that writes it out first: it
   * may be all that a power cut left, and be called clean without -f.
   */
  async isComplete(device: string, type: FsType, o: CallOptions): Promise<boolean> {
    requireDevice(device);
    if (type === "xfs") {
      const argv: Argv = ["xfs_db", "-r", "-c", "sb 0", "-c", "print inprogress", device];
      const stdout = await this.#tool.run(`read the superblock of ${device}`, argv, o);
      return !this.#read(argv, stdout, parseXfsInProgress);
    }
    const argv: Argv = ["e2fsck", "-f", "-n", device];
    const result = await this.#tool.exit(argv, withTimeout(o, checkTimeoutMs));
    if (result.exitCode === 0) return true;
    const isDamaged = (result.exitCode & damageLeft) !== 0 && !/Input\/output error/.test(`${result.stdout}${result.stderr}`);
    if (!isDamaged) throw this.#tool.failure(`check ${device}`, argv, result);
    return false;
  }

  /**
   * Makes what an interrupted mkfs left on a volume of this host blank again: writes zeros over all that a probe reads. Takes
   * a volume by its dataset alone, since a disk's name may be another disk's by the time it is written to.
   */
  async eraseStart(dataset: DatasetName, o: CallOptions): Promise<void> {
    const argv: Argv = ["dd", "if=/dev/zero", `of=${zvolPath(dataset)}`, `bs=${blankBytes}`, "count=1", "conv=nocreat,fsync"];
    await this.#tool.run(`erase the start of ${dataset}`, argv, o);
  }

  /**
   * Checks an unmounted filesystem. ext4 gets its journal and safe repairs; xfs is only looked at, its log replays at mount. A
   * read-only device is only looked at, too: one with a journal to replay is `needs_mount`.
   */
  async check(device: string, type: FsType, { readOnly = false, ...o }: CallOptions & { readonly readOnly?: boolean }): Promise<CheckResult> {
    requireDevice(device);
    const argv: Argv = type === "ext4" ? ["e2fsck", readOnly ? "-n" : "-p", device] : ["xfs_repair", "-n", device];
    const result = await this.#tool.exit(argv, withTimeout(o, checkTimeoutMs));
    const said = `${result.stdout}\n${result.stderr}`.trim();
    const output = said.slice(-4096);
    // What -n finds beside a log that it did not replay may be nothing, whatever it exits with (xfsprogs 6.1): the mount replays it.
    if (type === "xfs" && said.includes("ignored because the -n option was used")) return { state: "needs_mount", output };
    // So does e2fsck -n (e2fsprogs 1.47.0), and calls what the journal would have mended an inconsistency.
    if (type === "ext4" && said.includes("skipping journal recovery")) return { state: "needs_mount", output };
    // The exit of e2fsck is a sum of bits: 1 and 2 repaired, 4 damage left, 8 and up could not run (e2fsck(8)).
    // xfs_repair -n: 1 damage found, 2 a dirty log (xfs_repair(8)).
    const states: Readonly<Record<number, CheckResult["state"]>> =
      type === "ext4"
        ? { 0: "clean", 1: "repaired", 2: "repaired", 3: "repaired", 4: "damaged", 5: "damaged", 6: "damaged", 7: "damaged" }
        : { 0: "clean", 1: "damaged", 2: "needs_mount" };
    const state = states[result.exitCode];
    if (state === undefined) throw this.#tool.failure(`check ${device}`, argv, result);
    // xfs_repair also exits 1 when it cannot open the device or finds no superblock: then nothing was checked.
    if (state === "damaged" && type === "xfs" && /could not|couldn't|cannot open|No such file/i.test(output)) {
      throw this.#tool.failure(`check ${device}`, argv, result);
    }
    return { state, output };
  }

  /** Grows a mounted filesystem to its device. `Nothing to do!` is exit 0 (e2fsprogs 1.47.0). The caller compares sizes. */
  async grow({ device, mountPoint, type }: { device: string; mountPoint: HostPath; type: FsType }, o: CallOptions): Promise<void> {
    requireDevice(device);
    const argv: Argv = type === "ext4" ? ["resize2fs", device] : ["xfs_growfs", mountPoint];
    await this.#tool.run(`grow ${type} on ${device}`, argv, withTimeout(o, makeTimeoutMs));
  }

  /** The size the filesystem has now. */
  async sizeBytes(device: string, type: FsType, o: CallOptions): Promise<Bytes> {
    return (await this.extent(device, type, o)).sizeBytes;
  }

  /** The size the filesystem has now, and what it can grow to. */
  async extent(device: string, type: FsType, o: CallOptions): Promise<FsExtent> {
    requireDevice(device);
    const argv: Argv = type === "ext4" ? ["dumpe2fs", "-h", device] : ["xfs_info", device];
    const stdout = await this.#tool.run(`read the size of ${type} on ${device}`, argv, withTimeout(o, readTimeoutMs));
    return this.#read<FsExtent>(argv, stdout, type === "ext4" ? parseDumpe2fs : parseXfsInfo);
  }

  /** Use of a mounted filesystem. */
  async stats(mountPoint: HostPath, o: CallOptions): Promise<FsStats> {
    const argv: Argv = ["stat", "-f", "-c", "%S/%b/%f/%a/%c/%d", mountPoint];
    const stdout = await this.#tool.run(`read the use of ${mountPoint}`, argv, withTimeout(o, statTimeoutMs));
    return this.#read(argv, stdout, parseStatfs);
  }

  async #probeZeros(device: string, o: CallOptions): Promise<Probe> {
    const argv: Argv = ["cmp", "-n", String(blankBytes), device, "/dev/zero"];
    const result = await this.#tool.exit(argv, withTimeout(o, readTimeoutMs));
    if (result.exitCode === 0) return { kind: "blank" };
    if (result.exitCode === 1 && / differ: /.test(result.stdout)) {
      return { kind: "data" };
    }
    throw new StorageError("unavailable", `probe ${device} on ${this.#executor.host}: its first MiB cannot be read`, {
      cause: this.#tool.failure(`read ${device}`, argv, result),
      hint: "Nothing is formatted while the device cannot be read in full. Is its session up?",
    });
  }

  #read<T>(argv: Argv, stdout: string, parse: (stdout: string) => T): T {
    try {
      return parse(stdout);
    } catch (error) {
      throw new CommandOutputError(this.#executor.host, { argv, output: stdout }, error);
    }
  }
}

function makeArgv(type: FsType, uuid: string, extra: readonly string[], device: string): Argv {
  switch (type) {
    case "ext4":
      return ["mkfs.ext4", "-q", "-U", uuid, ...extra, device];
    case "xfs":
      return ["mkfs.xfs", "-q", "-K", "-m", `uuid=${uuid}`, ...extra, device];
    default:
      return assertNever(type);
  }
}

function requireDevice(device: string): void {
  if (!/^\/dev\/[A-Za-z0-9_][A-Za-z0-9_/.:-]*$/.test(device) || device.includes("..")) {
    throw invalidField("device", "is not a device path");
  }
}
