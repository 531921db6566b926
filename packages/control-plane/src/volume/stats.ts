import { parseDatasetName, parseHostPath, parseIqn } from "@zfsilo/host";
import { StorageError, type HostId } from "@zfsilo/lib";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import type { RequestDeps } from "./volume-requests.ts";

export interface VolumeStats {
  readonly zvol: { readonly capacityBytes: bigint; readonly usedBytes: bigint; readonly referencedBytes: bigint };
  readonly filesystems: readonly FilesystemUse[];
}

export interface FilesystemUse {
  readonly hostId: HostId;
  readonly totalBytes: bigint;
  readonly usedBytes: bigint;
  readonly availableBytes: bigint;
  readonly totalInodes: bigint;
  readonly usedInodes: bigint;
  readonly availableInodes: bigint;
}

/** What the volume takes in its pool, and its filesystem's use wherever it is staged. */
export async function volumeStats(deps: RequestDeps, volume: VolumeRecord, signal: AbortSignal): Promise<VolumeStats> {
  const { zfs } = await deps.machines.get(volume.hostId);
  const staged = volume.attachments.filter(({ stagingPath }) => stagingPath !== "");
  const [zvol, ...filesystems] = await Promise.all([
    zfs.getVolume(parseDatasetName(volume.dataset), { signal }),
    ...(volume.mode === "block" ? [] : staged.map((attachment) => filesystemUse(deps, volume, attachment, signal))),
  ]);
  const { sizeBytes, usedBytes, referencedBytes } = zvol;
  return { zvol: { capacityBytes: sizeBytes, usedBytes, referencedBytes }, filesystems };
}

async function filesystemUse(
  deps: RequestDeps,
  volume: VolumeRecord,
  { hostId, stagingPath }: AttachmentRecord,
  signal: AbortSignal,
): Promise<FilesystemUse> {
  const { iscsi, filesystems } = await deps.machines.get(hostId);
  // statfs on a filesystem whose session is lost hangs until the replacement timeout: look in sysfs first.
  const session = await iscsi.findSession({ target: parseIqn(volume.targetName) }, { signal });
  if (session?.state !== "LOGGED_IN") {
    throw new StorageError("unavailable", `read the use of volumes/${volume.id} on hosts/${hostId}: its session is down`, {
      details: { host: `hosts/${hostId}` },
      hint: "SyncVolume shows what is missing.",
    });
  }
  const use = await filesystems.stats(parseHostPath(stagingPath), { signal });
  return {
    hostId,
    totalBytes: use.totalBytes,
    usedBytes: use.totalBytes - use.freeBytes,
    availableBytes: use.availableBytes,
    totalInodes: use.totalInodes,
    usedInodes: use.totalInodes - use.freeInodes,
    availableInodes: use.freeInodes,
  };
}
