import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { csi, type Volume } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { ControlPlane } from "../control-plane.ts";
import { answered } from "../control-plane-error.ts";
import { conditionOf, publishedNodes, volumeToCsi } from "../volume.ts";

/** The control plane's largest page. */
const maxPageSize = 1000;

export async function listVolumes(
  { volumes }: ControlPlane,
  request: csi.ListVolumesRequest,
  signal: AbortSignal,
): Promise<csi.ListVolumesResponse> {
  const page = { pageSize: pageSize(request.maxEntries), pageToken: request.startingToken };
  const found = await withToken(() => volumes.listVolumes(page, { signal }));
  return create(csi.ListVolumesResponseSchema, {
    entries: found.volumes.map((volume) => ({ volume: volumeToCsi(volume), status: statusOf(volume) })),
    nextToken: found.nextPageToken,
  });
}

export function statusOf(volume: Volume): { publishedNodeIds: string[]; volumeCondition: csi.VolumeCondition } {
  return { publishedNodeIds: publishedNodes(volume), volumeCondition: conditionOf(volume) };
}

export function pageSize(maxEntries: number): number {
  if (maxEntries < 0) throw new StorageError("invalid_argument", "max_entries: is negative");
  return maxEntries === 0 ? maxPageSize : Math.min(maxEntries, maxPageSize);
}

/** CSI spec, "ListVolumes": a token that is not one of ours is ABORTED, and the caller begins anew. */
export async function withToken<T>(list: () => Promise<T>): Promise<T> {
  try {
    return await list();
  } catch (error) {
    if (!answered(error, Code.InvalidArgument)) throw error;
    throw new StorageError("aborted", "starting_token: is not one of this list", { cause: error, hint: "Begin the list anew." });
  }
}
