import { create, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
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
  return pageThatFits(csi.ListVolumesResponseSchema, pageSize(request.maxEntries), async (size) => {
    const found = await withToken(() => volumes.listVolumes({ pageSize: size, pageToken: request.startingToken }, { signal }));
    return create(csi.ListVolumesResponseSchema, {
      entries: found.volumes.map((volume) => ({ volume: volumeToCsi(volume), status: statusOf(volume) })),
      nextToken: found.nextPageToken,
    });
  });
}

/** grpc-go and grpc-js take 4 MiB unless they are told otherwise, and the sidecars are not. */
const maxAnswerBytes = 3 << 20;

/** Asks for ever fewer entries until the answer is one that every client takes; `max_entries` is a maximum. */
export async function pageThatFits<D extends DescMessage>(
  schema: D,
  size: number,
  read: (size: number) => Promise<MessageShape<D>>,
): Promise<MessageShape<D>> {
  const answer = await read(size);
  if (size <= 1 || toBinary(schema, answer).length <= maxAnswerBytes) return answer;
  return pageThatFits(schema, Math.ceil(size / 4), read);
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
