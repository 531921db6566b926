import { ext4GrowthLimit, ext4LayoutFor, largestExt4, type Ext4Layout } from "@zfsilo/host";
import { invalidField } from "@zfsilo/lib";
import type { FilesystemRecord, VolumeRecord } from "../store/model.ts";
import { findDevice } from "../workflow/connect-volume.ts";
import { notNow, type RequestDeps } from "./volume-requests.ts";

/** The least that any ext4 of ours can be: mke2fs gave small volumes such blocks before we chose them. */
const leastLayout: Ext4Layout = { blockBytes: 1024, wide: true };

/**
 * A zvol that grew never shrinks. What its filesystem cannot follow is refused before: by what is recorded of it, or by a look at
 * where it is staged. xfs has no limit that a volume reaches.
 */
export async function requireGrowable(deps: RequestDeps, volume: VolumeRecord, capacityBytes: bigint): Promise<void> {
  const { filesystem, capacityBytes: present } = volume;
  if (filesystem?.type !== "ext4" || !filesystem.formatted) return;
  if (filesystem.layout === undefined && capacityBytes <= ext4GrowthLimit(leastLayout, present)) return;
  const layout = filesystem.layout ?? (await layoutWhereStaged(deps, volume));
  if (layout !== undefined) {
    requireWithin(layout, present, capacityBytes);
  } else if (present < largestExt4(leastLayout) && filesystem.mkfsOptions["block_size"] === undefined) {
    throw notNow(volume, "grow", "how far its ext4 can follow is not known", "Stage it once for writing, which looks, and repeat the call.");
  }
}

/** The same for a copy that is to be larger than its source. It is never formatted, and staged for the first time later. */
export function requireCopyGrowable(filesystem: FilesystemRecord | undefined, present: bigint, capacityBytes: bigint): void {
  if (filesystem?.layout !== undefined && filesystem.formatted) requireWithin(filesystem.layout, present, capacityBytes);
}

/** A volume that is not formatted yet gets a layout by its options. */
export function requireMakeable(filesystem: Pick<FilesystemRecord, "type" | "mkfsOptions"> | undefined, capacityBytes: bigint): void {
  if (filesystem?.type !== "ext4") return;
  const most = largestExt4(ext4LayoutFor(filesystem.mkfsOptions, capacityBytes));
  if (capacityBytes <= most) return;
  throw invalidField("volume.capacity_bytes", `${capacityBytes} is more than the ${most} of an ext4 with these mkfs_options`, "Use blocks of 4096 bytes and 64bit, or xfs.");
}

function requireWithin(layout: Ext4Layout, present: bigint, capacityBytes: bigint): void {
  const most = ext4GrowthLimit(layout, present);
  if (capacityBytes <= most) return;
  const what = `its ext4 has blocks of ${layout.blockBytes} bytes`;
  const isStep = most < largestExt4(layout);
  throw invalidField(
    "volume.capacity_bytes",
    `${what} and follows to ${most} bytes${isStep ? " in one step" : ""}, not to ${capacityBytes}`,
    isStep
      ? `Grow it in steps: so small blocks take minutes for more. Its end is at ${largestExt4(layout)}; a new volume has larger blocks.`
      : "Grow it to that at most, or make a new volume of the size you need and copy the files.",
  );
}

async function layoutWhereStaged(deps: RequestDeps, volume: VolumeRecord): Promise<Ext4Layout | undefined> {
  const attachment = volume.attachments.find(({ stagingPath }) => stagingPath !== "");
  if (attachment === undefined) return undefined;
  const machine = await deps.machines.get(attachment.hostId);
  const { signal } = new AbortController();
  const { path } = await findDevice(machine, volume, signal);
  return (await machine.filesystems.extent(path, "ext4", { signal })).ext4;
}
