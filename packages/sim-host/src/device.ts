import { readRaw, writeRaw } from "./content.ts";
import { KernelError } from "./failure.ts";
import { liveSession } from "./iscsi/nexus.ts";
import { isWriteProtected, mappedBackstore } from "./lio/view.ts";
import type { Machine } from "./machine.ts";
import type { DeviceDoc, MountDoc } from "./model.ts";
import { findDataset } from "./zfs/datasets.ts";

/** A block device as an open file sees it. */
export interface OpenDevice {
  readonly machine: Machine;
  readonly name: string;
  /** Undefined: LIO's null device, which stands in for a LUN 0 that is no longer mapped. */
  readonly content: string | undefined;
  readonly size: bigint;
  /** The kernel takes no writes (`rejected`), or the target refuses those it gets (`refused`). */
  readonly protection?: "rejected" | "refused";
}

/** How much of LIO's null device reads as zeros, with success, before the first error (seen on kernel 6.1). */
const nullDeviceBytes = 32 * 1024;

export function findDevice(machine: Machine, name: string): DeviceDoc | undefined {
  return machine.model.devices.get(machine.at(name));
}

/** Finds the kernel's name for a device node, through its /dev/zvol link if it is one. */
export function deviceByPath(machine: Machine, path: string): string | undefined {
  const name = path.startsWith("/dev/zvol/") ? zvolLink(machine, path.slice("/dev/zvol/".length)) : path.slice("/dev/".length);
  return name !== undefined && path.startsWith("/dev/") && machine.model.devices.has(machine.at(name)) ? name : undefined;
}

/** The device that udev's link for a volume points at, once the link is there. */
export function zvolLink(machine: Machine, dataset: string): string | undefined {
  const found = findDataset(machine, dataset);
  return found?.link === undefined || found.link === "present" ? found?.device : undefined;
}

/** Each file operation on a link that is still to come brings it nearer: a simulated machine has no clock to be late by. */
export function awaitLink(machine: Machine, dataset: string): void {
  if (typeof findDataset(machine, dataset)?.link !== "object") return;
  const edited = machine.model.datasets.edit(machine.at(dataset));
  if (typeof edited?.link !== "object") return;
  edited.link = edited.link.missesLeft <= 1 ? "present" : { missesLeft: edited.link.missesLeft - 1 };
}

/** Opens for exclusive use; EBUSY when somebody else has. */
export function holdDevice(machine: Machine, name: string, holder: string): void {
  const device = machine.model.devices.edit(machine.at(name));
  if (device === undefined) throw new KernelError("ENOENT", name);
  if (device.holders.some((other) => other !== holder) || (holder === "lio" && device.holders.length > 0)) {
    throw new KernelError("EBUSY", name);
  }
  device.holders.push(holder);
}

/** A disk whose session is gone vanishes when the last holder lets go. */
export function releaseDevice(machine: Machine, name: string, holder: string): void {
  const device = machine.model.devices.edit(machine.at(name));
  if (device === undefined) return;
  const index = device.holders.indexOf(holder);
  if (index !== -1) device.holders.splice(index, 1);
  if (device.kind === "disk" && device.gone && device.holders.length === 0) removeDisk(machine, name);
}

/** Takes a disk away, or leaves a dead one behind while it is held. */
export function removeDisk(machine: Machine, name: string): void {
  const device = machine.model.devices.edit(machine.at(name));
  if (device?.kind !== "disk") return;
  unlinkNode(machine, name);
  if (device.holders.length > 0) {
    device.gone = true;
    return;
  }
  machine.model.devices.delete(machine.at(name));
  machine.editKernel().freeDisks.push(diskIndex(name));
}

/** Where the node was bound stays a mount of a file that is gone, also when another disk gets its name (fs/d_path.c). */
function unlinkNode(machine: Machine, name: string): void {
  const { mounts } = machine.model;
  const bound = (mount: MountDoc): boolean => mount.content === undefined && mount.device === name;
  for (const key of mounts.children(machine.name).map((at) => machine.at(at))) {
    if (mounts.get(key)?.mounts.some(bound) !== true) continue;
    for (const mount of mounts.edit(key)?.mounts.filter(bound) ?? []) {
      mount.root = `/${name}//deleted`;
      mount.device = `${name}//deleted`;
    }
  }
}

/** Opens a device node for reading or writing. A disk reaches over its session to what the target serves at this moment. */
export function openDevice(machine: Machine, name: string): OpenDevice {
  const device = findDevice(machine, name);
  if (device === undefined) throw new KernelError("ENOENT", name);
  if (device.kind === "zvol") {
    const dataset = findDataset(machine, device.dataset);
    return { machine, name, content: dataset?.content, size: BigInt(dataset?.props["volsize"] ?? "0") };
  }
  const session = device.gone ? undefined : liveSession(machine, device.session);
  if (session?.state !== "LOGGED_IN") throw new KernelError("EIO", name);
  const target = machine.peer(session.peer);
  const served = mappedBackstore(target, session.target, session.tpgt, session.initiator, device.lun);
  if (served?.device === undefined) {
    if (device.lun === 0) return { machine, name, content: undefined, size: BigInt(device.size) };
    throw new KernelError("EIO", name);
  }
  const { content, size } = openDevice(target, served.device);
  if (content === undefined) throw new KernelError("EIO", name);
  // Until a rescan the initiator goes by the size it knows; beyond a shrunk backstore there is nothing.
  const known = BigInt(device.size);
  const refused = isWriteProtected(target, session.target, session.tpgt, session.initiator, device.lun);
  const protection = device.readOnly === true ? "rejected" : refused ? "refused" : undefined;
  return { machine, name, content, size: known < size ? known : size, ...(protection && { protection }) };
}

export function readDevice(device: OpenDevice, length: number): Buffer {
  const end = device.size < BigInt(length) ? Number(device.size) : length;
  if (device.content !== undefined) return readRaw(device.machine.model, device.content, end);
  if (end > nullDeviceBytes) throw new KernelError("EIO", device.name);
  return Buffer.alloc(end);
}

/** Writes at the start of a device. A volume that finds no space is an I/O error to an initiator, ENOSPC locally. */
export function writeDevice(device: OpenDevice, data: Buffer): void {
  // sd_open (drivers/scsi/sd.c): a write-protected disk is not opened for writing. What still is written fails at the target.
  if (device.protection === "rejected") throw new KernelError("EROFS", device.name);
  if (device.content === undefined || device.protection === "refused") throw new KernelError("EIO", device.name);
  if (BigInt(data.length) > device.size) throw new KernelError("ENOSPC", device.name);
  try {
    writeRaw(device.machine.model, device.content, data);
  } catch (error) {
    throw spaceError(device, error);
  }
}

/** The initiator learns no more of a full pool than that its write failed. */
export function spaceError(device: Pick<OpenDevice, "name">, error: unknown): unknown {
  if (!(error instanceof KernelError) || error.errno !== "ENOSPC" || device.name.startsWith("zd")) return error;
  return new KernelError("EIO", device.name);
}

/** sda, sdb, ..., sdz, sdaa: the lowest number that is free. */
export function newDiskName(machine: Machine): string {
  const kernel = machine.editKernel();
  const lowest = kernel.freeDisks.length === 0 ? undefined : Math.min(...kernel.freeDisks);
  if (lowest !== undefined) {
    kernel.freeDisks = kernel.freeDisks.filter((index) => index !== lowest);
    return diskName(lowest);
  }
  kernel.nextDisk += 1;
  return diskName(kernel.nextDisk - 1);
}

export function diskName(index: number): string {
  let letters = "";
  for (let left = index; left >= 0; left = Math.floor(left / 26) - 1) {
    letters = String.fromCharCode(97 + (left % 26)) + letters;
  }
  return `sd${letters}`;
}

export function diskIndex(name: string): number {
  let index = 0;
  for (const letter of name.slice(2)) index = index * 26 + (letter.charCodeAt(0) - 96);
  return index - 1;
}

/** Disks 0 to 15 have major 8, then 65 to 71 sixteen each, then 128 to 135 (Documentation/admin-guide/devices.txt). */
export function diskNumber(index: number): string {
  const block = Math.floor(index / 16) % 16;
  const major = block === 0 ? 8 : block < 8 ? 64 + block : 120 + block;
  return `${major}:${(index % 16) * 16 + 256 * Math.floor(index / 256)}`;
}
