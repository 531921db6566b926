import { create } from "@bufbuild/protobuf";
import { csi, VolumeMode, type Volume } from "@zfsilo/api";
import type { ControlPlane } from "../control-plane.ts";
import { conditionOf } from "../volume.ts";

const { VolumeUsage_Unit: Unit } = csi;

/** A filesystem's own numbers; of raw block only its size is known, since what is free there only its user can tell. */
export async function volumeStats(
  { volumes }: ControlPlane,
  volume: Volume,
  host: string,
  signal: AbortSignal,
): Promise<csi.NodeGetVolumeStatsResponse> {
  const volumeCondition = conditionOf(volume);
  if (volume.mode === VolumeMode.BLOCK) {
    const usage = [{ unit: Unit.BYTES, total: volume.capacityBytes }];
    return create(csi.NodeGetVolumeStatsResponseSchema, { usage, volumeCondition });
  }
  const { filesystems } = await volumes.statsVolume({ name: volume.name }, { signal });
  const usage = filesystems
    .filter((filesystem) => filesystem.host === host)
    .flatMap((filesystem) => [
      {
        unit: Unit.BYTES,
        total: filesystem.totalBytes,
        used: filesystem.usedBytes,
        available: filesystem.availableBytes,
      },
      {
        unit: Unit.INODES,
        total: filesystem.totalInodes,
        used: filesystem.usedInodes,
        available: filesystem.availableInodes,
      },
    ]);
  return create(csi.NodeGetVolumeStatsResponseSchema, { usage, volumeCondition });
}
