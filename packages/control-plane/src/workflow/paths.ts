import type { BlockDevice, HostPath, Mount } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import { diskOf } from "./stale-session.ts";

/** Whether anything stands at a path. readlink never touches the filesystem mounted there, which may hang. */
export async function pathExists({ executor }: Machine, path: HostPath | string, signal: AbortSignal): Promise<boolean> {
  const [found] = await executor.files([{ op: "readlink", path, tolerate: ["EINVAL", "ENOENT", "ENOTDIR"] }], { signal });
  return found?.errno === undefined || found.errno === "EINVAL";
}

/** Whether a mount shows a device: its filesystem, or its node bound on a file. */
export function showsDevice(mount: Mount | undefined, device: Pick<BlockDevice, "name" | "majorMinor">): boolean {
  if (mount === undefined) return false;
  return mount.majorMinor === device.majorMinor || (mount.type === "devtmpfs" && mount.root === `/${device.name}`);
}

export interface TakenPath {
  readonly path: HostPath;
  /** What we mount there, `/dev/sda`; undefined before it was found, when nothing of ours can be mounted yet. */
  readonly device: string | undefined;
  /** Whether the path was there before us: then it stays. */
  readonly existed: boolean | undefined;
}

/**
 * Undoes a mount of ours. Volumes are locked one by one and paths are not: what another volume mounted there, because it was
 * first, is not ours to take away.
 */
export async function giveBack({ mounts }: Machine, { path, device, existed }: TakenPath, signal: AbortSignal): Promise<void> {
  const present = await mounts.find(path, { signal });
  if (present !== undefined && `/dev/${diskOf(present) ?? ""}` !== device) return;
  await mounts.unmount(path, { signal });
  if (existed === false) await mounts.removeTarget(path, { signal });
}

/** The turn of whoever makes or takes away a mount at this path. */
export function pathTurn(hostId: HostId, path: string): string {
  return `path:${hostId}:${path}`;
}
