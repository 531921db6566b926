import { parseHostPath, type BlockDevice, type FsType } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";

/**
 * What a filesystem may leave unused at the end of its device: less than one ext4 block group (128 MiB with 4 KiB blocks)
 * or the smallest xfs allocation group (16 MiB) cannot always be added.
 */
export const unusableTailBytes = 128n << 20n;

/** Grows a mounted filesystem to its device and reads the size back: the tools exit 0 also when they did nothing. */
export async function growToDevice(
  { filesystems, executor }: Machine,
  { path, sizeBytes }: BlockDevice,
  type: FsType,
  mountPoint: string,
  signal: AbortSignal,
): Promise<void> {
  const before = await filesystems.sizeBytes(path, type, { signal });
  if (before === sizeBytes) return;
  await filesystems.grow({ device: path, mountPoint: parseHostPath(mountPoint), type }, { signal });
  const after = await filesystems.sizeBytes(path, type, { signal });
  if (after >= before && after + unusableTailBytes >= sizeBytes) return;
  throw new StorageError("internal", `grow ${type} on ${path} of ${executor.host}: it has ${after} of ${sizeBytes} bytes`, {
    hint: "Look at the output of the grow command in the operation.",
  });
}
