import { largestExt4, parseHostPath, type BlockDevice, type Ext4Layout, type FsType } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import { isDeepStrictEqual } from "node:util";
import type { Machine } from "../machines/machines.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/**
 * What a filesystem may leave unused at the end of its device: less than one ext4 block group (128 MiB with 4 KiB blocks)
 * or the smallest xfs allocation group (16 MiB) cannot always be added.
 */
export const unusableTailBytes = 128n << 20n;

export interface Grown {
  /** Where its device is larger than the filesystem can ever be: that much. It stays as it is, and works. */
  readonly mostBytes?: bigint;
  readonly layout?: Ext4Layout;
}

/** Grows a mounted filesystem to its device and reads the size back: the tools exit 0 also when they did nothing. */
export async function growToDevice(
  { filesystems, executor }: Machine,
  { path, sizeBytes }: BlockDevice,
  type: FsType,
  mountPoint: string,
  signal: AbortSignal,
): Promise<Grown> {
  const { sizeBytes: before, ext4: layout } = await filesystems.extent(path, type, { signal });
  const grown = layout === undefined ? {} : { layout };
  if (before === sizeBytes) return grown;
  if (layout !== undefined && sizeBytes > largestExt4(layout)) return { ...grown, mostBytes: largestExt4(layout) };
  await filesystems.grow({ device: path, mountPoint: parseHostPath(mountPoint), type }, { signal });
  const after = await filesystems.sizeBytes(path, type, { signal });
  if (after >= before && after + unusableTailBytes >= sizeBytes) return grown;
  throw new StorageError("internal", `grow ${type} on ${path} of ${executor.host}: it has ${after} of ${sizeBytes} bytes`, {
    hint: "Look at the output of the grow command in the operation.",
  });
}

/** A zvol that grew before anybody asked its filesystem, or by hand. */
export function requireFollowed({ id }: Pick<VolumeRecord, "id">, { mostBytes, layout }: Grown): void {
  if (mostBytes === undefined) return;
  const blocks = `blocks of ${layout?.blockBytes ?? 0} bytes`;
  throw new StorageError("precondition", `grow the filesystem of volumes/${id}: its ext4 has ${blocks} and never exceeds ${mostBytes} bytes`, {
    details: { volume: `volumes/${id}`, reason: "FILESYSTEM_LIMIT" },
    hint: "It works as it is, and its zvol never shrinks. Make a new volume of the size you need, copy the files, and delete this one.",
  });
}

/** Remembers how far it can grow, so that the limit is known also while nobody has it mounted. Written once. */
export async function recordLayout({ volumes }: Pick<WorkflowDeps, "volumes">, id: VolumeRecord["id"], { layout }: Grown): Promise<void> {
  if (layout === undefined) return;
  const { filesystem } = await volumes.get(id);
  if (filesystem === undefined || isDeepStrictEqual(filesystem.layout, layout)) return;
  await volumes.update(id, { filesystem: { ...filesystem, layout } });
}
