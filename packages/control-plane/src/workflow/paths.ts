import type { BlockDevice, HostPath, Mount } from "@zfsilo/host";
import type { Machine } from "../machines/machines.ts";

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
