import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { csi, type ByteRange } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { controlPlaneError } from "../control-plane-error.ts";
import type { ControlPlane } from "../control-plane.ts";
import { outOfRange } from "../error-map.ts";
import { checkId, snapshotName } from "../names.ts";

/** The control plane's most ranges a message. */
const maxRanges = 4096;

export function snapshotMetadata({ snapshots }: ControlPlane): ServiceImpl<typeof csi.SnapshotMetadata> {
  return {
    async *getMetadataAllocated(request, { signal }) {
      const page = pageOf(request);
      const name = snapshotName(checkId(request.snapshotId, "snapshot_id"));
      for await (const { capacityBytes, ranges } of withinVolume(snapshots.listAllocatedRanges({ name, ...page }, { signal }))) {
        yield create(csi.GetMetadataAllocatedResponseSchema, blocks(capacityBytes, ranges));
      }
    },

    async *getMetadataDelta(request, { signal }) {
      const page = pageOf(request);
      const base = snapshotName(checkId(request.baseSnapshotId, "base_snapshot_id"));
      const target = snapshotName(checkId(request.targetSnapshotId, "target_snapshot_id"));
      for await (const { capacityBytes, ranges } of withinVolume(snapshots.listChangedRanges({ base, target, ...page }, { signal }))) {
        yield create(csi.GetMetadataDeltaResponseSchema, blocks(capacityBytes, ranges));
      }
    },
  };
}

function pageOf({ startingOffset, maxResults }: { startingOffset: bigint; maxResults: number }): {
  startOffset: bigint;
  maxRanges: number;
} {
  if (startingOffset < 0n) throw outOfRange("starting_offset: is negative");
  if (maxResults < 0) throw new StorageError("invalid_argument", "max_results: is negative");
  return { startOffset: startingOffset, maxRanges: Math.min(maxResults, maxRanges) };
}

/** CSI spec, "SnapshotMetadata": an offset past the volume's end has a code of its own. */
async function* withinVolume<T>(ranges: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* ranges;
  } catch (error) {
    const answer = controlPlaneError(error);
    if (answer?.field === "start_offset") throw outOfRange(`starting_offset: ${answer.message}`);
    throw error;
  }
}

function blocks(volumeCapacityBytes: bigint, ranges: readonly ByteRange[]) {
  return {
    volumeCapacityBytes,
    blockMetadataType: csi.BlockMetadataType.VARIABLE_LENGTH,
    blockMetadata: ranges.map(({ offset, length }) => ({ byteOffset: offset, sizeBytes: length })),
  };
}
