import { StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/** The volume and what is recorded of it on one initiator. Throws precondition when it is not connected there. */
export async function findAttachment(
  deps: Pick<WorkflowDeps, "volumes">,
  volumeId: VolumeId,
  hostId: HostId,
): Promise<{ volume: VolumeRecord; attachment: AttachmentRecord }> {
  const volume = await deps.volumes.get(volumeId);
  return { volume, attachment: requireAttachment(volume, hostId) };
}

/** A volume connected to another host is never a reason to act on that one. */
export function requireAttachment(volume: VolumeRecord, hostId: HostId): AttachmentRecord {
  const attachment = volume.attachments.find((candidate) => candidate.hostId === hostId);
  if (attachment !== undefined) return attachment;
  throw new StorageError("precondition", `volumes/${volume.id} is not connected to hosts/${hostId}`, {
    details: { volume: `volumes/${volume.id}`, host: `hosts/${hostId}`, reason: "NOT_CONNECTED" },
    hint: "Call ConnectVolume for this host first.",
  });
}

/** A filesystem whose writer is cut off while it has it mounted may have something to recover. */
export async function markCutOff({ volumes }: Pick<WorkflowDeps, "volumes">, { id, filesystem, attachments }: VolumeRecord, host: HostId): Promise<void> {
  const cutOff = attachments.some(({ hostId, stagingPath, readOnly }) => hostId === host && stagingPath !== "" && !readOnly);
  if (cutOff && filesystem !== undefined) await volumes.update(id, { filesystem: { ...filesystem, unclean: true } });
}
