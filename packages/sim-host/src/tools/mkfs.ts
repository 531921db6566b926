import { contentOf, discardAll, pieceSize, superblock } from "../content.ts";
import { spaceError, writeDevice, type OpenDevice } from "../device.ts";
import { errnoText, KernelError, UnmodelledError } from "../failure.ts";
import { newFile } from "../files/file-tree.ts";
import type { Machine } from "../machine.ts";
import type { FilesystemDoc } from "../model.ts";
import { done, lastValue, parseOptions, ToolFailure, type Options, type Program } from "../program.ts";
import { isHeldBy, openFor } from "./block.ts";

/** mkfs.ext4 of e2fsprogs 1.47.0 and mkfs.xfs of xfsprogs 6.1. */

const zeroUuid = "00000000-0000-4000-8000-";

interface Making {
  readonly type: FilesystemDoc["type"];
  readonly blockSize: number;
  readonly uuid: string | undefined;
  readonly label: string | undefined;
  readonly narrow?: boolean;
}

/** Writes it to the device, or a part of it. */
type Write = (machine: Machine, device: OpenDevice, making: Making) => void;

/** Features that can be switched on and off, of those the tools know. */
const ext4Features = /^\^?(?:64bit|metadata_csum|orphan_file)$/;
const xfsMeta = /^(?:uuid=[0-9a-fA-F-]+|(?:bigtime|inobtcount|reflink)=[01])$/;
const xfsInode = /^(?:size=\d+|nrext64=[01])$/;

const makeExt4 = (write: Write): Program => (machine, args) => {
  const options = parseOptions("mkfs.ext4", args, { flags: ["-q", "-V", "-F"], values: ["-U", "-E", "-L", "-O", "-b", "-i", "-I", "-m", "-N"] });
  if (options.flags.has("-V")) {
    return done("", "mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n");
  }
  for (const extended of (lastValue(options, "-E") ?? "nodiscard").split(",")) {
    if (!/^(no)?discard$|^lazy_(itable|journal)_init=[01]$|^resize=\d+$/.test(extended)) throw new UnmodelledError(`mkfs.ext4 -E ${extended}`);
  }
  const features = (options.values.get("-O") ?? []).flatMap((value) => value.split(","));
  for (const name of features) if (!ext4Features.test(name)) throw new ToolFailure(1, `Invalid filesystem option set: ${features.join(",")}`);
  const path = onlyOperand("mkfs.ext4", options);
  const banner = "mke2fs 1.47.0 (5-Feb-2023)\n";
  const device = openFor(
    machine,
    path,
    (errno) =>
      new ToolFailure(
        1,
        errno === "ENOENT"
          ? `${banner}The file ${path} does not exist and no size was specified.`
          : `${banner}mkfs.ext4: ${errnoText(errno)} while trying to determine filesystem size`,
      ),
  );
  if (isHeldBy(machine, device, "mount")) {
    throw new ToolFailure(1, `${banner}${path} is mounted; will not make a filesystem here!`);
  }
  if (isHeldBy(machine, device, "lio")) {
    throw new ToolFailure(1, `${banner}${path} is apparently in use by the system; will not make a filesystem here!`);
  }
  // Smaller devices get 1 KiB blocks (mke2fs.conf, [fs_types] small).
  const blockSize = Number(lastValue(options, "-b") ?? (device.size < 512n * 1024n * 1024n ? 1024 : 4096));
  if (device.size < 64n * 1024n) {
    throw new ToolFailure(1, `${path}: Not enough space to build proposed filesystem while setting up superblock`);
  }
  const narrow = features.includes("^64bit");
  write(machine, device, { type: "ext4", blockSize, uuid: lastValue(options, "-U"), label: lastValue(options, "-L"), ...(narrow ? { narrow } : {}) });
  return done();
};

const makeXfs = (write: Write): Program => (machine, args) => {
  const options = parseOptions("mkfs.xfs", args, { flags: ["-q", "-K", "-V"], values: ["-m", "-L", "-b", "-i", "-s", "-d"] });
  if (options.flags.has("-V")) return done("mkfs.xfs version 6.1.0\n");
  for (const [flag, known] of [["-m", xfsMeta], ["-i", xfsInode]] as const) {
    const unknown = (options.values.get(flag) ?? []).flatMap((value) => value.split(",")).find((value) => !known.test(value));
    if (unknown !== undefined) throw new ToolFailure(1, `unknown option ${flag} ${unknown}`);
  }
  const path = onlyOperand("mkfs.xfs", options);
  const device = openFor(
    machine,
    path,
    (errno) => new ToolFailure(1, `${path}: ${errnoText(errno)}`),
  );
  if (isHeldBy(machine, device, "mount")) {
    throw new ToolFailure(1, `mkfs.xfs: ${path} contains a mounted filesystem`);
  }
  const existing = device.content === undefined ? undefined : contentOf(machine.model, device.content).fs;
  if (existing !== undefined) {
    throw new ToolFailure(
      1,
      `mkfs.xfs: ${path} appears to contain an existing filesystem (${existing.type}).\nmkfs.xfs: Use the -f option to force overwrite.`,
    );
  }
  // xfsprogs 5.19 and later make nothing below 300 MB.
  if (device.size < 300n * 1024n * 1024n) {
    throw new ToolFailure(1, "Filesystem must be larger than 300MB.");
  }
  const uuid = /(?:^|,)uuid=([^,]+)/.exec((options.values.get("-m") ?? []).join(","))?.[1];
  const blockSize = /(?:^|,)size=(\d+)/.exec(lastValue(options, "-b") ?? "")?.[1] ?? "4096";
  write(machine, device, { type: "xfs", blockSize: Number(blockSize), uuid, label: lastValue(options, "-L") });
  return done();
};

function onlyOperand(program: string, options: Options): string {
  const [path, ...more] = options.rest;
  if (path === undefined || more.length > 0) throw new UnmodelledError(`${program} ${options.rest.join(" ")}`);
  return path;
}

/** Everything that was on the device is gone: for what a reader sees, as discarded. */
function format(machine: Machine, device: OpenDevice, { type, blockSize, uuid, label = "", narrow = false }: Making): void {
  const { content } = device;
  if (content === undefined) throw new KernelError("EIO", device.name);
  if (device.protection !== undefined) throw new ToolFailure(1, `/dev/${device.name}: ${errnoText("EROFS")} while setting up superblock`);
  const { model } = machine;
  const id = uuid ?? `${zeroUuid}${model.next("uuid").toString(16).padStart(12, "0")}`;
  try {
    discardAll(model, content);
    // Only a new superblock may stand beside the old filesystem's record, which goes first.
    const cleared = model.contents.edit(content);
    if (cleared !== undefined) delete cleared.fs;
    writeDevice(device, superblock(type, id));
  } catch (error) {
    const shown = spaceError(device, error);
    if (!(shown instanceof KernelError)) throw shown;
    throw new ToolFailure(1, `mkfs.${type}: ${errnoText(shown.errno)} while writing out and closing file system`);
  }
  const edited = model.contents.edit(content);
  if (edited === undefined) return;
  edited.fs = {
    type,
    uuid: id.toLowerCase(),
    label,
    blockSize,
    size: (device.size - (device.size % BigInt(blockSize))).toString(),
    used: "0",
    writers: 0,
    mountedSinceCheck: false,
    damaged: false,
    ...(narrow ? { narrow } : {}),
  };
  model.files.put(content, { ...newFile("directory", 0o755), generation: edited.generation });
  if (type === "ext4") model.files.put(`${content}/lost+found`, { ...newFile("directory", 0o700), generation: edited.generation });
}

/** mkfs.ext4 writes its superblock last: before that there are group descriptors and bitmaps, which nobody recognises. */
function formatInPart(machine: Machine, device: OpenDevice): void {
  const { content } = device;
  if (content === undefined) throw new KernelError("EIO", device.name);
  discardAll(machine.model, content);
  writeDevice(device, Buffer.concat([Buffer.alloc(pieceSize), Buffer.alloc(64, 0xff)]));
}

/** mkfs.xfs begins with the superblock, which says that the rest is missing. */
const formatUnfinished: Write = (machine, device, making) => {
  format(machine, device, making);
  const edited = device.content === undefined ? undefined : machine.model.contents.edit(device.content);
  if (edited?.fs !== undefined) edited.fs.unfinished = true;
};

export const mkfsExt4 = makeExt4(format);
export const mkfsXfs = makeXfs(format);
export const interruptedMkfsExt4 = makeExt4(formatInPart);
export const interruptedMkfsXfs = makeXfs(formatUnfinished);
