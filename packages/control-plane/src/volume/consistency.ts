import { StorageError } from "@zfsilo/lib";
import type { Consistency, VolumeRecord } from "../store/model.ts";
import type { Frozen } from "../workflow/freeze.ts";

/**
 * Which filesystems have to be frozen for a snapshot with this promise. A volume that nobody has mounted read-write keeps it as
 * it is, when it was unmounted; when it was cut off, its journal is still to be recovered, and nothing can be promised.
 */
export function freezesFor(volume: VolumeRecord, consistency: Consistency, field: string): Frozen[] {
  if (consistency === "crash") return [];
  const refuse = (why: string, hint: string): StorageError =>
    new StorageError("precondition", `${field}: volumes/${volume.id} ${why}`, {
      details: { field, volume: `volumes/${volume.id}`, reason: "NOT_CONSISTENT" },
      hint,
    });
  if (volume.filesystem === undefined) {
    throw refuse("is raw block: what is written on it cannot be frozen from here", "Ask for CONSISTENCY_CRASH, and let its user flush first.");
  }
  const mounted = volume.attachments.filter(({ stagingPath, readOnly }) => stagingPath !== "" && !readOnly);
  if (mounted.length > 0) return mounted.map(({ hostId, stagingPath }) => ({ volumeId: volume.id, hostId, path: stagingPath }));
  if (volume.filesystem.unclean !== true) return [];
  throw refuse(
    "was cut off while it was mounted, or made of a snapshot of a mounted one",
    "Stage it once, so that its journal is recovered, or ask for CONSISTENCY_CRASH.",
  );
}
