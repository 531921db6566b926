import { parseHostPath, type BlockDevice, type Mount } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { mountFilesystem, requireOurFilesystem } from "./mount-filesystem.ts";
import { showsDevice } from "./paths.ts";

/** What the options of a filesystem say that was mounted writable and gave up after an error: ext4 6.1, ext4 6.10, xfs. */
const stopped: ReadonlySet<string> = new Set(["ro", "emergency_ro", "shutdown"]);

/** Whether the filesystem that a mount shows gave up. Wherever it is mounted it says the same: all share one superblock. */
export function hasStopped({ superOptions }: Pick<Mount, "superOptions">, { readOnly }: Pick<AttachmentRecord, "readOnly">): boolean {
  return !readOnly && superOptions.some((option) => stopped.has(option));
}

export interface StoppedFilesystem {
  readonly volume: VolumeRecord;
  readonly attachment: AttachmentRecord;
  readonly device: BlockDevice;
  /** What shows at the staging path. */
  readonly staged: Mount;
}

/** Where a stopped filesystem is mounted beside its staging path: those who use it there have it open. */
export async function usersOf({ mounts }: Machine, { device, staged }: StoppedFilesystem, signal: AbortSignal): Promise<string[]> {
  const shown = (await mounts.list({ signal })).filter((mount) => showsDevice(mount, device));
  return shown.map(({ target }) => target).filter((target) => target !== staged.target);
}

/** Unmounts a filesystem that gave up after an error, checks it as a stage does, and mounts it anew. Refused while it is in use. */
export async function restartStopped(machine: Machine, found: StoppedFilesystem, signal: AbortSignal): Promise<void> {
  const { volume, attachment, device } = found;
  const users = await usersOf(machine, found, signal);
  if (users.length > 0) throw stillInUse(machine, found, users);
  const { stagingPath, readOnly, writeProtected } = attachment;
  await machine.mounts.unmount(parseHostPath(stagingPath), { signal });
  await requireOurFilesystem(machine, volume, device.path, signal);
  await mountFilesystem(machine, volume, { device: device.path, stagingPath, readOnly, writeProtected }, signal);
}

function stillInUse({ executor }: Machine, { volume, attachment }: StoppedFilesystem, users: readonly string[]): StorageError {
  const where = users.join(", ");
  return new StorageError("precondition", `use volumes/${volume.id} on ${executor.host}: its filesystem stopped after an error and is in use at ${where}`, {
    details: { reason: "FILESYSTEM_READ_ONLY", volume: `volumes/${volume.id}`, host: `hosts/${attachment.hostId}` },
    hint: "Stop what uses it and call UnmountVolume for each path. The next StageVolume or MountVolume checks it and mounts it anew.",
  });
}
