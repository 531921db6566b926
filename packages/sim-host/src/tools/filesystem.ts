import { contentOf } from "../content.ts";
import { openDevice, type OpenDevice } from "../device.ts";
import { errnoText, UnmodelledError } from "../failure.ts";
import { mountAt } from "../files/mounts.ts";
import { Vfs } from "../files/vfs.ts";
import type { Machine } from "../machine.ts";
import type { FilesystemDoc } from "../model.ts";
import { done, failed, parseOptions, ToolFailure, type Program } from "../program.ts";
import { isHeldBy, openFor } from "./block.ts";

/** Tools that look at, check and grow a filesystem. */

function filesystemOf(machine: Machine, device: OpenDevice): FilesystemDoc | undefined {
  return device.content === undefined ? undefined : contentOf(machine.model, device.content).fs;
}

function editFilesystem(machine: Machine, device: OpenDevice): FilesystemDoc | undefined {
  if (device.protection !== undefined) throw new ToolFailure(1, `${device.name}: ${errnoText("EROFS")}`);
  return device.content === undefined ? undefined : machine.model.contents.edit(device.content)?.fs;
}

function operand(program: string, args: readonly string[], flags: readonly string[]): { path: string; flags: ReadonlySet<string> } {
  const options = parseOptions(program, args, { flags });
  const [path, ...more] = options.rest;
  if (path === undefined || more.length > 0) throw new UnmodelledError(`${program} ${args.join(" ")}`);
  return { path, flags: options.flags };
}

export const e2fsck: Program = (machine, args) => {
  const { path, flags } = operand("e2fsck", args, ["-p", "-f", "-n", "-y"]);
  const banner = "e2fsck 1.47.0 (5-Feb-2023)\n";
  const device = openFor(
    machine,
    path,
    (errno) => new ToolFailure(8, `${banner}e2fsck: ${errnoText(errno)} while trying to open ${path}\nPossibly non-existent device?`),
  );
  if (isHeldBy(machine, device, "mount") && !flags.has("-n")) {
    throw new ToolFailure(8, `${banner}${path} is mounted.\ne2fsck: Cannot continue, aborting.\n`);
  }
  const fs = filesystemOf(machine, device);
  if (fs?.type !== "ext4") {
    throw new ToolFailure(8, `e2fsck: Bad magic number in super-block while trying to open ${path}`, `${path}: \nThe superblock could not be read or does not describe a valid ext2/ext3/ext4\nfilesystem.\n`);
  }
  if (device.protection === "rejected" && !flags.has("-n")) {
    throw new ToolFailure(8, `${banner}e2fsck: ${errnoText("EROFS")} while trying to open ${path}`, "Disk write-protected; use the -n option to do a read-only\ncheck of the device.\n");
  }
  const summary = `${path}: 11/65536 files (0.0% non-contiguous), ${BigInt(fs.used) / BigInt(fs.blockSize)}/${blocks(fs)} blocks\n`;
  if (fs.damaged) {
    if (!flags.has("-y")) throw new ToolFailure(4, `${path}: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n\t(i.e., without -a or -p options)`);
    const edited = editFilesystem(machine, device);
    if (edited !== undefined) edited.damaged = false;
    return { exitCode: 1, stdout: summary, stderr: "" };
  }
  if (flags.has("-n")) {
    const skipped = fs.writers > 0 ? "Warning: skipping journal recovery because doing a read-only filesystem check.\n" : "";
    return done(`${skipped}${summary}`, banner);
  }
  const edited = editFilesystem(machine, device);
  // A journal left by a crash is replayed, which counts as clean. Only a forced check is a full one.
  const full = flags.has("-f");
  if (edited !== undefined) {
    edited.writers = 0;
    if (full) edited.mountedSinceCheck = false;
  }
  return done(fs.writers > 0 ? `${path}: recovering journal\n${summary}` : full ? summary : `${path}: clean, 11/65536 files\n`);
};

export const xfsRepair: Program = (machine, args) => {
  const { path, flags } = operand("xfs_repair", args, ["-n"]);
  if (!flags.has("-n")) throw new UnmodelledError("xfs_repair without -n");
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `${path}: ${errnoText(errno)}\n\nfatal error -- couldn't initialize XFS library`));
  if (isHeldBy(machine, device, "mount")) throw new ToolFailure(1, `xfs_repair: ${path} contains a mounted and writable filesystem`);
  const fs = filesystemOf(machine, device);
  if (fs?.unfinished === true) {
    const found = "Phase 1 - find and verify superblock...\nbad primary superblock - filesystem mkfs-in-progress bit set !!!\n";
    return failed(1, "", `${found}\nattempting to find secondary superblock...\n.......Sorry, could not find valid secondary superblock\nExiting now.\n`);
  }
  if (fs?.type !== "xfs" || fs.damaged) return failed(1, "Phase 1 - find and verify superblock...\nbad primary superblock - bad magic number !!!");
  if (fs.writers > 0) {
    return failed(
      1,
      "Phase 2 - using internal log\nALERT: The filesystem has valuable metadata changes in a log which is being\n" +
        "ignored because the -n option was used.  Expect spurious inconsistencies\n" +
        "which may be resolved by first mounting the filesystem to replay the log.\n",
    );
  }
  return done("Phase 1 - find and verify superblock...\nNo modify flag set, skipping filesystem flush and exiting.\n");
};

/** `xfs_db -r -c "sb 0" -c "print inprogress" DEVICE` alone: did mkfs come to its end? */
export const xfsDb: Program = (machine, args) => {
  const options = parseOptions("xfs_db", args, { flags: ["-r"], values: ["-c"] });
  const [path, ...more] = options.rest;
  const commands = options.values.get("-c")?.join("; ");
  if (path === undefined || more.length > 0 || !options.flags.has("-r") || commands !== "sb 0; print inprogress") throw new UnmodelledError(`xfs_db ${args.join(" ")}`);
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `${path}: ${errnoText(errno)}\n\nfatal error -- couldn't initialize XFS library`));
  const fs = filesystemOf(machine, device);
  if (fs?.type !== "xfs") return failed(1, `xfs_db: ${path} is not a valid XFS filesystem (unexpected SB magic number 0x00000000)\nUse -F to force a read attempt.`);
  return done(`inprogress = ${fs.unfinished === true ? 1 : 0}\n`);
};

const resizeBanner = "resize2fs 1.47.0 (5-Feb-2023)\n";

export const resize2fs: Program = (machine, args) => {
  const { path } = operand("resize2fs", args, []);
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `${resizeBanner}open: ${errnoText(errno)} while opening ${path}`));
  const fs = filesystemOf(machine, device);
  if (fs?.type !== "ext4") {
    throw new ToolFailure(1, `${resizeBanner}resize2fs: Bad magic number in super-block while trying to open ${path}`, "Couldn't find valid filesystem superblock.\n");
  }
  const online = isHeldBy(machine, device, "mount");
  // Offline it wants a full check since the last mount.
  if (!online && (fs.mountedSinceCheck || fs.writers > 0 || fs.damaged)) {
    throw new ToolFailure(1, `${resizeBanner}Please run 'e2fsck -f ${path}' first.\n`);
  }
  const size = device.size - (device.size % BigInt(fs.blockSize));
  const unit = fs.blockSize / 1024;
  const count = size / BigInt(fs.blockSize);
  if (size === BigInt(fs.size)) {
    return done("", `${resizeBanner}The filesystem is already ${count} (${unit}k) blocks long.  Nothing to do!\n\n`);
  }
  if (size < BigInt(fs.size)) {
    if (online) throw new ToolFailure(1, `${resizeBanner}resize2fs: On-line shrinking not supported`);
    const least = BigInt(fs.used) / BigInt(fs.blockSize);
    if (count < least) throw new ToolFailure(1, `${resizeBanner}resize2fs: New size smaller than minimum (${least})\n`);
  }
  // The descriptors of all groups have to fit into the first one (resize/main.c).
  const block = BigInt(fs.blockSize);
  const groups = (count + 8n * block - 1n) / (8n * block);
  const descriptors = (groups * (fs.narrow === true ? 32n : 64n) + block - 1n) / block;
  if (descriptors + (unit === 1 ? 1n : 0n) > 8n * block) {
    throw new ToolFailure(1, `${resizeBanner}resize2fs: New size results in too many block group descriptors.\n`);
  }
  const edited = editFilesystem(machine, device);
  if (edited !== undefined) edited.size = size.toString();
  return done(`The filesystem on ${path} is now ${count} (${unit}k) blocks long.\n\n`, resizeBanner);
};

export const xfsGrowfs: Program = (machine, args) => {
  const { path } = operand("xfs_growfs", args, []);
  const vfs = new Vfs(machine);
  if (vfs.kind(path) === undefined) return failed(1, `xfs_growfs: path resolution failed for ${path}: No such file or directory`);
  const mount = mountAt(machine, vfs.resolve(path));
  if (mount?.device === undefined || mount.fstype !== "xfs") return failed(1, `xfs_growfs: ${path} is not a mounted XFS filesystem`);
  const device = openDevice(machine, mount.device);
  const fs = filesystemOf(machine, device);
  if (fs === undefined) return failed(1, `xfs_growfs: XFS_IOC_FSGROWFSDATA xfsctl failed: Input/output error`);
  const before = blocks(fs);
  const edited = editFilesystem(machine, device);
  const size = device.size - (device.size % BigInt(fs.blockSize));
  if (edited !== undefined && size > BigInt(fs.size)) edited.size = size.toString();
  const after = size / BigInt(fs.blockSize);
  return done(`${geometry(fs)}${after > before ? `data blocks changed from ${before} to ${after}\n` : ""}`);
};

export const dumpe2fs: Program = (machine, args) => {
  const { path, flags } = operand("dumpe2fs", args, ["-h"]);
  if (!flags.has("-h")) throw new UnmodelledError("dumpe2fs without -h");
  const banner = "dumpe2fs 1.47.0 (5-Feb-2023)\n";
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `${banner}dumpe2fs: ${errnoText(errno)} while trying to open ${path}`));
  const fs = filesystemOf(machine, device);
  if (fs?.type !== "ext4") throw new ToolFailure(19, `${banner}dumpe2fs: Bad magic number in super-block while trying to open ${path}`);
  const free = (BigInt(fs.size) - BigInt(fs.used)) / BigInt(fs.blockSize);
  const lines = [
    `Filesystem volume name:   ${fs.label === "" ? "<none>" : fs.label}`,
    `Filesystem UUID:          ${fs.uuid}`,
    "Filesystem magic number:  0xEF53",
    `Filesystem features:      has_journal extent ${fs.narrow === true ? "" : "64bit "}flex_bg`,
    `Filesystem state:         ${fs.damaged ? "not clean with errors" : "clean"}`,
    `Block count:              ${blocks(fs)}`,
    `Free blocks:              ${free}`,
    `Block size:               ${fs.blockSize}`,
  ];
  return done(lines.map((line) => `${line}\n`).join(""), banner);
};

export const xfsInfo: Program = (machine, args) => {
  const { path } = operand("xfs_info", args, []);
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `${path}: ${errnoText(errno)}`));
  const fs = filesystemOf(machine, device);
  if (fs?.type !== "xfs") {
    throw new ToolFailure(1, `xfs_info: ${path} is not a valid XFS filesystem (unexpected SB magic number 0x00000000)`);
  }
  return done(geometry(fs, path));
};

function geometry(fs: FilesystemDoc, path = "device"): string {
  const count = blocks(fs);
  return `meta-data=${path} isize=512    agcount=4, agsize=${count / 4n} blks\n         =                       sectsz=512   attr=2, projid32bit=1\ndata     =                       bsize=${fs.blockSize}   blocks=${count}, imaxpct=25\n         =                       sunit=0      swidth=0 blks\n`;
}

function blocks(fs: FilesystemDoc): bigint {
  return BigInt(fs.size) / BigInt(fs.blockSize);
}
