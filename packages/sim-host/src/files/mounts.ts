import { openDevice, releaseDevice, spaceError } from "../device.ts";
import { KernelError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { MountDoc } from "../model.ts";
import type { MountView } from "./file-tree.ts";
import { findFreeze, Frozen } from "./freeze.ts";

/** The mount table of a machine. Mounts at one place form a stack of which the last is seen. */

const key = (machine: Machine, at: string): string => machine.at(encodeURIComponent(at));

export function mountAt(machine: Machine, at: string): MountDoc | undefined {
  return machine.model.mounts.get(key(machine, at))?.mounts.at(-1);
}

/** The mount a path lies in: the nearest place above it (or itself) that has one. */
export function mountOf(machine: Machine, path: string): MountDoc {
  for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = mountAt(machine, at);
    if (found !== undefined) return found;
  }
  return mountAt(machine, "/") ?? rootMount(machine);
}

function rootMount(machine: Machine): MountDoc {
  return {
    id: 1,
    parent: 0,
    at: "/",
    content: machine.rootContent,
    root: "",
    fstype: "ext4",
    source: "/dev/vda",
    readOnly: false,
    options: ["rw", "relatime"],
    failed: false,
  };
}

export function addMount(machine: Machine, mount: Omit<MountDoc, "id" | "parent" | "failed">): void {
  const kernel = machine.editKernel();
  const id = kernel.nextMount;
  kernel.nextMount += 1;
  const { mounts } = machine.model;
  // A mount over another is the other's child; the first one at a place is the child of what it lies in.
  const parent = mountOf(machine, mount.at).id;
  const stack = mounts.edit(key(machine, mount.at)) ?? { mounts: [] };
  // What shows a mounted filesystem a second time shares its superblock, and that may have given up.
  const failed = mount.device !== undefined && mount.content !== undefined && allMounts(machine).some((other) => other.failed && other.device === mount.device && other.content === mount.content);
  stack.mounts.push({ ...mount, id, parent, failed });
  mounts.put(key(machine, mount.at), stack);
  const entry = { at: mount.at, ...(mount.device === undefined ? {} : { device: mount.device }) };
  for (const index of indexKeys(machine, { ...mount, id, parent })) machine.model.mountIndex.put(index, entry);
  if (mount.device === undefined || mount.content === undefined) return;
  machine.model.devices.edit(machine.at(mount.device))?.holders.push("mount");
  if (!mount.readOnly) countWriter(machine, mount.content, 1);
}

/** Takes the topmost mount at a place away; the device is let go with its last mount. */
export function removeMount(machine: Machine, at: string): MountDoc | undefined {
  const stack = machine.model.mounts.edit(key(machine, at));
  const mount = stack?.mounts.pop();
  if (stack?.mounts.length === 0) machine.model.mounts.delete(key(machine, at));
  for (const index of mount === undefined ? [] : indexKeys(machine, mount)) machine.model.mountIndex.delete(index);
  if (mount?.device === undefined || mount.content === undefined) return mount;
  // A filesystem that stopped after an error is left unclean, with its journal to replay.
  if (!mount.readOnly && !mount.failed && isReachable(machine, mount)) countWriter(machine, mount.content, -1);
  releaseDevice(machine, mount.device, "mount");
  return mount;
}

export function editMount(machine: Machine, at: string): MountDoc | undefined {
  return machine.model.mounts.edit(key(machine, at))?.mounts.at(-1);
}

export function allMounts(machine: Machine): readonly MountDoc[] {
  const { mounts } = machine.model;
  const stacks = mounts.children(machine.name).map((name) => mounts.get(machine.at(name))?.mounts ?? []);
  return [rootMount(machine), ...stacks.flat().sort((a, b) => a.id - b.id)];
}

function indexKeys(machine: Machine, mount: Pick<MountDoc, "id" | "parent" | "uuid">): readonly string[] {
  const lists = [`parent.${mount.parent}`];
  if (mount.uuid !== undefined) lists.push(`uuid.${mount.uuid}`);
  return lists.map((list) => machine.at(`${list}/${mount.id}`));
}

/** Whether a filesystem of this UUID is mounted from another device. */
export function isUuidMounted(machine: Machine, uuid: string, device: string): boolean {
  const { mountIndex } = machine.model;
  const list = machine.at(`uuid.${uuid}`);
  return mountIndex.children(list).some((id) => mountIndex.get(`${list}/${id}`)?.device !== device);
}

/** As a power cut does: the mounts are gone, the filesystems were never told. */
export function forgetMounts(machine: Machine): void {
  const { mounts, mountIndex } = machine.model;
  for (const name of mounts.children(machine.name)) {
    for (const mount of mounts.get(machine.at(name))?.mounts ?? []) {
      for (const index of indexKeys(machine, mount)) mountIndex.delete(index);
    }
    mounts.delete(machine.at(name));
  }
}

/** Whether something is mounted below (or over) a mount: it cannot be taken away before that. */
export function hasMountsBelow(machine: Machine, mount: MountDoc): boolean {
  return machine.model.mountIndex.hasChildren(machine.at(`parent.${mount.id}`));
}

function countWriter(machine: Machine, content: string, change: 1 | -1): void {
  const fs = machine.model.contents.edit(content)?.fs;
  if (fs === undefined) return;
  fs.writers = Math.max(0, fs.writers + change);
  if (change === 1) fs.mountedSinceCheck = true;
}

function isReachable(machine: Machine, mount: MountDoc): boolean {
  try {
    return mount.device === undefined || openDevice(machine, mount.device).content === mount.content;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** A mounted filesystem as file operations see it. The first I/O error stops it for good: it stays so when the disk returns. */
export function viewOf(machine: Machine, mount: MountDoc, content: string): MountView {
  return {
    content,
    at: mount.at,
    root: mount.root,
    check(writing) {
      if (mount.device === undefined) {
        if (writing && mount.readOnly) throw new KernelError("EROFS", mount.at);
        return;
      }
      if (!isReachable(machine, mount)) {
        stop(machine, mount);
        throw new KernelError("EIO", mount.at);
      }
      if (!writing) return;
      if (mount.readOnly || mount.failed) throw new KernelError("EROFS", mount.at);
      if (findFreeze(machine, content) !== undefined) throw new Frozen(mount.at);
    },
    fault(error) {
      const shown = mount.device === undefined ? error : spaceError({ name: mount.device }, error);
      if (shown instanceof KernelError && shown.errno === "EIO") stop(machine, mount);
      return shown;
    },
  };
}

/** It is the filesystem that stops, wherever it is mounted. */
function stop(machine: Machine, mount: MountDoc): void {
  if (mount.failed) return;
  for (const at of new Set(allMounts(machine).filter(({ device }) => device === mount.device).map((other) => other.at))) {
    const stack = machine.model.mounts.edit(key(machine, at));
    for (const other of stack?.mounts ?? []) if (other.device === mount.device) other.failed = true;
  }
}
