import { mountsOfDevice, parseHostPath, parseIqn, type Mount } from "@zfsilo/host";
import type { HostId, VolumeId } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import type { HostRecord, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/** A mount on what a session showed, by place and device: enough to find it again once the device is gone. */
export interface StaleMount {
  readonly target: string;
  readonly majorMinor: string;
  readonly root: string;
}

type Target = Pick<VolumeRecord, "targetName">;

/** What is mounted of the session's devices, in the order it was mounted. Empty without a session. */
export async function staleMounts({ iscsi, mounts }: Machine, { targetName }: Target, signal: AbortSignal): Promise<StaleMount[]> {
  const session = await iscsi.findSession({ target: parseIqn(targetName) }, { signal });
  if (session === undefined || session.devices.length === 0) return [];
  const all = await mounts.list({ signal });
  const ids = new Set(session.devices.flatMap((device) => mountsOfDevice(all, device)).map(({ id }) => id));
  return all.filter(({ id }) => ids.has(id)).map(({ target, majorMinor, root }) => ({ target, majorMinor, root }));
}

/**
 * Mounts below `roots` of disks that are gone, in the order they were mounted: what a clean-up leaves that was interrupted after
 * the session had ended. Nobody can use such a mount, so it matters little whose it was.
 */
export async function deadMounts({ mounts, executor }: Machine, roots: readonly string[], signal: AbortSignal): Promise<StaleMount[]> {
  const candidates = (await mounts.list({ signal })).flatMap((mount) => {
    const name = diskOf(mount);
    return name !== undefined && roots.some((root) => mount.target.startsWith(`${root}/`)) ? [{ ...mount, name }] : [];
  });
  if (candidates.length === 0) return [];
  const reads = candidates.map(({ name }) => ({ op: "read", path: `/sys/class/block/${name}/dev`, tolerate: ["ENOENT"] }) as const);
  const numbers = await executor.files(reads, { signal });
  return candidates
    .filter((mount, index) => isGone(mount, numbers[index]?.text))
    .map(({ target, majorMinor, root }) => ({ target, majorMinor, root }));
}

/** What the kernel adds to the path of a file that was unlinked while it is mounted (fs/d_path.c), as a bound device node is. */
const unlinked = "//deleted";

/** The SCSI disk that a mount shows, as a filesystem or as a bound node, whether or not that disk is still there. */
export function diskOf({ type, root, source }: Pick<Mount, "type" | "root" | "source">): string | undefined {
  return /^\/(sd[a-z]+)$/.exec(type === "devtmpfs" ? nodeOf(root) : source.slice("/dev".length))?.[1];
}

/** `number`: that of the disk which has the name now. A disk keeps its number while it is mounted, also when it is gone. */
export function isGone({ type, root, majorMinor }: Pick<Mount, "type" | "root" | "majorMinor">, number: string | undefined): boolean {
  if (number === undefined) return true;
  return type === "devtmpfs" ? root.endsWith(unlinked) : number.trim() !== majorMinor;
}

function nodeOf(root: string): string {
  return root.endsWith(unlinked) ? root.slice(0, -unlinked.length) : root;
}

/**
 * Ends the session. A dead one is logged out first although it is mounted: until then the kernel holds its device `blocked`
 * and every access hangs, unmounting too (seen with open-iscsi 2.1.8 on Linux 6.1, up to replacement_timeout). One that is
 * logged in is never cut off under a mount.
 */
export async function endStaleSession({ iscsi }: Machine, { targetName }: Target, signal: AbortSignal): Promise<void> {
  const target = parseIqn(targetName);
  const session = await iscsi.findSession({ target }, { signal });
  if (session === undefined) return;
  if (session.state === "LOGGED_IN") await iscsi.logout({ target }, { signal });
  else await iscsi.abandonSession({ target }, { signal });
}

/** Takes away mounts whose device is gone, newest first. A path where something else is mounted by now is left alone. */
export async function unmountStale({ mounts }: Machine, stale: readonly StaleMount[], signal: AbortSignal): Promise<void> {
  for (const { target, majorMinor, root } of [...stale].reverse()) {
    const path = parseHostPath(target);
    const found = await mounts.find(path, { signal });
    if (found?.majorMinor === majorMinor && nodeOf(found.root) === nodeOf(root)) await mounts.unmount(path, { signal });
  }
}

/**
 * All of it, in the order that works. No session is done; the node record is left to whoever writes the next one. Of a host that
 * was forced off, mounts are looked for whose session has ended already.
 */
export async function removeStaleSession(deps: Pick<WorkflowDeps, "leftovers" | "machines">, host: HostRecord, volume: Target, signal: AbortSignal): Promise<void> {
  const machine = deps.machines.of(host);
  const isKnown = (await deps.leftovers.find(host.id, volume.targetName)) !== undefined;
  const dead = isKnown ? await deadMounts(machine, host.allowedRoots, signal) : [];
  const stale = await staleMounts(machine, volume, signal);
  await endStaleSession(machine, volume, signal);
  await unmountStale(machine, [...dead, ...stale], signal);
  if (isKnown) await deps.leftovers.remove(host.id, volume.targetName);
}

/** To be cleaned when the host answers again: it is cut off without being asked. */
export async function rememberLeftover(
  { volumes, leftovers, hosts }: Pick<WorkflowDeps, "volumes" | "leftovers" | "hosts">,
  { volumeId, hostId }: { readonly volumeId: VolumeId; readonly hostId: HostId },
): Promise<void> {
  if ((await hosts.find(hostId)) === undefined) return;
  const { targetName } = await volumes.get(volumeId);
  await leftovers.put({ hostId, targetName, volumeId, createdAt: new Date() });
}
