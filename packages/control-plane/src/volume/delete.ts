import { StorageError, type OperationId, type VolumeId } from "@zfsilo/lib";
import { deleteVolume } from "../workflow/delete-volume.ts";
import { notNow, type RequestDeps } from "./volume-requests.ts";

/**
 * Answers the operation that did it, also to a call that repeats the one which did; undefined when there was no such volume
 * and that is allowed.
 */
export async function requestDelete(
  deps: RequestDeps,
  id: VolumeId,
  allowMissing: boolean,
): Promise<OperationId | undefined> {
  return deps.operations.submit(
    { subject: `volumes/${id}`, kind: deleteVolume.kind, input: { allowMissing } },
    async (begin, earlier) => {
      const volume = await deps.volumes.find(id);
      if (volume === undefined) {
        const before = await earlier();
        if (before?.state === "succeeded") return before.id;
        if (allowMissing) return undefined;
        throw new StorageError("not_found", `volumes/${id} does not exist`, { details: { volume: `volumes/${id}` } });
      }
      if (volume.published) {
        throw notNow(volume, "delete", "it is published", "Call UnpublishVolume first.");
      }
      return (await begin(deleteVolume, { volumeId: id })).operation;
    },
  );
}
