import { contentOf } from "../content.ts";
import { findDevice, openDevice, type OpenDevice } from "../device.ts";
import { KernelError, UnmodelledError } from "../failure.ts";
import { addMount, editMount, hasMountsBelow, isUuidMounted, mountAt, mountOf, removeMount } from "../files/mounts.ts";
import { Vfs } from "../files/vfs.ts";
import type { Machine } from "../machine.ts";
import { done, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";

/** mount(8) and umount(8) of util-linux 2.38. */

const help = "       dmesg(1) may have more information after failed mount system call.";

export const mount: Program = (machine, args) => {
  const options = parseOptions("mount", args, { flags: ["--bind"], values: ["-t", "-o"] });
  const words = (lastValue(options, "-o") ?? "rw").split(",");
  const [first, second, ...more] = options.rest;
  if (first === undefined || more.length > 0) throw new UnmodelledError(`mount ${args.join(" ")}`);
  const vfs = new Vfs(machine);
  if (words.includes("remount")) return remount(machine, vfs, second ?? first, words);
  if (second === undefined) throw new UnmodelledError(`mount ${args.join(" ")}`);
  if (options.flags.has("--bind")) return bind(machine, vfs, first, second);
  return mountDevice(machine, vfs, { source: first, place: second, type: lastValue(options, "-t"), words });
};

interface MountRequest {
  readonly source: string;
  readonly place: string;
  readonly type: string | undefined;
  readonly words: readonly string[];
}

const known = /^(rw|ro|relatime|noatime|nodiratime|nodev|nosuid|noexec|discard|nodiscard|nouuid|defaults|sync|lazytime|norecovery|noload|barrier=[01]|data=\w+|commit=\d+|errors=[\w-]+|inode64|logbufs=\d+|logbsize=\w+|largeio|swalloc|_netdev|nofail|user_xattr|acl|noacl)$/;

/** The machine's own trees are no place to mount on. */
function checkPlace(at: string): void {
  if (/^\/($|(sys|proc|dev|run\/udev)(\/|$))/.test(at)) throw new UnmodelledError(`a mount on ${at}`);
}

function mountDevice(machine: Machine, vfs: Vfs, request: MountRequest): ReturnType<Program> {
  const { place, words } = request;
  for (const word of words) if (!known.test(word)) throw new UnmodelledError(`mount option ${word}`);
  if (vfs.kind(place) === undefined) throw new ToolFailure(32, `mount: ${place}: mount point does not exist.`);
  const at = vfs.resolve(place);
  checkPlace(at);
  if (vfs.kind(at) !== "directory") throw new ToolFailure(32, `mount: ${place}: mount point is not a directory.\n${help}`);
  const source = request.source;
  const name = deviceName(machine, vfs, source);
  if (name === undefined) throw new ToolFailure(32, `mount: ${place}: special device ${source} does not exist.\n${help}`);
  const top = mountAt(machine, at);
  if (top?.device === name && top.content !== undefined) {
    throw new ToolFailure(32, `mount: ${place}: ${source} already mounted on ${place}.\n${help}`);
  }
  const device = tryOpen(machine, name);
  const { content } = device;
  const fs = content === undefined ? undefined : contentOf(machine.model, content).fs;
  const wrong = `mount: ${place}: wrong fs type, bad option, bad superblock on ${source}, missing codepage or helper program, or other error.\n${help}`;
  if (content === undefined || fs === undefined || fs.damaged || fs.unfinished === true || BigInt(fs.size) > device.size) throw new ToolFailure(32, wrong);
  if (request.type !== undefined && request.type !== fs.type) throw new ToolFailure(32, wrong);
  // XFS refuses a second filesystem of the same UUID, which every clone has.
  if (fs.type === "xfs" && !words.includes("nouuid") && isUuidMounted(machine, fs.uuid, name)) throw new ToolFailure(32, wrong);
  const held = findDevice(machine, name)?.holders.includes("lio") === true;
  if (held) throw new ToolFailure(32, `mount: ${place}: ${source} already mounted or mount point busy.\n${help}`);
  // A device that cannot be written is mounted read-only, whatever was asked for, with exit 0 (libmount 2.38.1).
  const isProtected = device.protection === "rejected";
  const readOnly = isProtected || words.includes("ro");
  if (isProtected && fs.writers > 0 && !words.includes(fs.type === "ext4" ? "noload" : "norecovery")) {
    throw new ToolFailure(32, `mount: ${place}: cannot mount ${source} read-only.\n${help}`);
  }
  const shown = words.filter((word) => !["rw", "ro", "defaults", "_netdev", "nofail"].includes(word));
  const mode = readOnly ? "ro" : "rw";
  const options = shown.some((word) => word === "noatime" || word === "relatime") ? [mode, ...shown] : [mode, "relatime", ...shown];
  addMount(machine, {
    at,
    content,
    root: "",
    device: name,
    ...(fs.type === "xfs" ? { uuid: fs.uuid } : {}),
    fstype: fs.type,
    source: `/dev/${name}`,
    readOnly,
    options,
  });
  machine.loadModules(fs.type);
  return words.includes("ro") || !isProtected ? done() : done("", `mount: ${place}: WARNING: source write-protected, mounted read-only.\n`);
}

/** An I/O error while the superblock is read is told apart from a wrong superblock. */
function tryOpen(machine: Machine, name: string): OpenDevice {
  try {
    return openDevice(machine, name);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new ToolFailure(32, `mount: /dev/${name}: can't read superblock on /dev/${name}.\n${help}`);
  }
}

export function deviceName(machine: Machine, vfs: Vfs, path: string): string | undefined {
  if (!path.startsWith("/dev/") || vfs.kind(path) !== "file") return undefined;
  const name = vfs.resolve(path).slice("/dev/".length);
  return findDevice(machine, name) === undefined ? undefined : name;
}

function bind(machine: Machine, vfs: Vfs, source: string, place: string): ReturnType<Program> {
  const from = vfs.kind(source);
  const to = vfs.kind(place);
  if (to === undefined) throw new ToolFailure(32, `mount: ${place}: mount point does not exist.\n${help}`);
  if (from === undefined) throw new ToolFailure(32, `mount: ${place}: special device ${source} does not exist.\n${help}`);
  if (from === "file" && to === "directory") throw new ToolFailure(32, `mount: ${place}: mount point is a directory.\n${help}`);
  if (from === "directory" && to === "file") {
    throw new ToolFailure(32, `mount: ${place}: mount(2) system call failed: Not a directory.\n${help}`);
  }
  const real = vfs.resolve(source);
  const at = vfs.resolve(place);
  checkPlace(at);
  const device = deviceName(machine, vfs, source);
  const options = ["rw", "relatime"];
  if (device !== undefined) {
    addMount(machine, { at, root: `/${device}`, device, fstype: "devtmpfs", source: "udev", readOnly: false, options: ["rw", "nosuid", "relatime"] });
    return done();
  }
  const below = mountOf(machine, real);
  if (below.content === undefined && below.device !== undefined) {
    // A bind of a bind-mounted device node: the same node once more.
    const { id: _id, parent: _parent, failed: _failed, ...copy } = below;
    addMount(machine, { ...copy, at });
    return done();
  }
  if (below.content === undefined || /^\/(sys|proc|dev|run\/udev)(\/|$)/.test(real)) {
    throw new UnmodelledError(`mount --bind ${source}`);
  }
  const inside = below.at === "/" ? real : real.slice(below.at.length);
  addMount(machine, {
    at,
    content: below.content,
    root: `${below.root}${inside}`,
    fstype: below.fstype,
    source: below.source,
    readOnly: below.readOnly,
    options: below.device === undefined ? options : below.options,
    ...(below.device === undefined ? {} : { device: below.device }),
    ...(below.uuid === undefined ? {} : { uuid: below.uuid }),
  });
  return done();
}

function remount(machine: Machine, vfs: Vfs, place: string, words: readonly string[]): ReturnType<Program> {
  for (const word of words) {
    if (!["remount", "bind", "ro", "rw"].includes(word)) throw new UnmodelledError(`mount -o ${words.join(",")}`);
  }
  if (!words.includes("bind")) throw new UnmodelledError("mount -o remount without bind");
  const found = editMount(machine, vfs.resolve(place));
  if (found === undefined) throw new ToolFailure(32, `mount: ${place}: mount point not mounted or bad option.\n${help}`);
  found.readOnly = words.includes("ro");
  return done();
}

export const umount: Program = (machine, args) => {
  const options = parseOptions("umount", args, {});
  const [place, ...more] = options.rest;
  if (place === undefined || more.length > 0) throw new UnmodelledError(`umount ${args.join(" ")}`);
  // Never follows into the mount: a dead device does not keep its mount from going.
  const at = mountAt(machine, place) === undefined ? resolveQuietly(machine, place) : place;
  if (at === undefined) throw new ToolFailure(32, `umount: ${place}: no mount point specified.`);
  const found = mountAt(machine, at);
  if (found === undefined) throw new ToolFailure(32, `umount: ${place}: not mounted.`);
  if (hasMountsBelow(machine, found)) throw new ToolFailure(32, `umount: ${place}: target is busy.`);
  removeMount(machine, at);
  return done();
};

function resolveQuietly(machine: Machine, place: string): string | undefined {
  const vfs = new Vfs(machine);
  return vfs.kind(place) === undefined ? undefined : vfs.resolve(place);
}
