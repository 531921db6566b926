import { describeProbe, isFilesystem, parseHostPath, type FsType } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import type { VolumeRecord } from "../store/model.ts";
import { requireFilesystem } from "./format.ts";
import { showsDevice } from "./paths.ts";

/** What is on the device must be the filesystem we made: anything else is reported, never mounted, never made anew. */
export async function requireOurFilesystem(
  { filesystems }: Machine,
  volume: VolumeRecord,
  device: string,
  signal: AbortSignal,
): Promise<void> {
  const { type, uuid } = requireFilesystem(volume);
  const found = await filesystems.probe(device, { signal });
  if (isFilesystem(found, type, uuid)) return;
  throw new StorageError("precondition", `volumes/${volume.id} has ${describeProbe(found)} where ${type} ${uuid} was made`, {
    details: { reason: "UNEXPECTED_CONTENT", device },
    hint: "The volume was formatted before and is never formatted again. Look at the device by hand.",
  });
}

export interface StagingMount {
  readonly device: string;
  readonly stagingPath: string;
  readonly readOnly: boolean;
  readonly writeProtected: boolean;
  readonly isFresh?: boolean | undefined;
}

/** Checks the volume's filesystem unless it is in use or new, and mounts it. */
export async function mountFilesystem(
  machine: Machine,
  volume: VolumeRecord,
  { device, stagingPath, readOnly, writeProtected, isFresh = false }: StagingMount,
  signal: AbortSignal,
): Promise<void> {
  const { type } = requireFilesystem(volume);
  if (!isFresh) await checkUnmounted(machine, volume, { device, writeProtected }, signal);
  const options = mountOptionsOf(volume);
  await machine.mounts.mountDevice({ device, target: parseHostPath(stagingPath), type, options, readOnly }, { signal });
}

/**
 * xfs refuses a second filesystem with a UUID that is mounted (xfs(5), nouuid), and a copy has that of its source. Giving it
 * another one would need a clean log, and write to it. ext4 does not mind.
 */
function mountOptionsOf(volume: VolumeRecord): readonly string[] {
  const { type, mountOptions } = requireFilesystem(volume);
  const isCopy = volume.source !== undefined && type === "xfs";
  return isCopy && !mountOptions.includes("nouuid") ? [...mountOptions, "nouuid"] : mountOptions;
}

/** A damaged filesystem is reported, never mounted. One that is mounted somewhere must not be checked. */
async function checkUnmounted(
  { mounts, filesystems, devices }: Machine,
  volume: VolumeRecord,
  { device, writeProtected }: Pick<StagingMount, "device" | "writeProtected">,
  signal: AbortSignal,
): Promise<void> {
  const { type, mountOptions } = requireFilesystem(volume);
  const block = await devices.find(device, { signal });
  if (block === undefined) {
    throw new StorageError("unavailable", `stage volumes/${volume.id}: its disk ${device} is gone`, { details: { device } });
  }
  if ((await mounts.list({ signal })).some((mount) => showsDevice(mount, block))) return;
  const { state, output } = await filesystems.check(device, type, { signal, readOnly: writeProtected });
  if (state === "needs_mount" && writeProtected && !mountOptions.includes(withoutJournal[type])) throw needsReplay(volume, device, type);
  if (state !== "damaged") return;
  throw new StorageError("precondition", `stage volumes/${volume.id}: its ${type} is damaged`, {
    cause: new Error(output),
    details: { device },
    hint: "Repair it by hand on the initiator (e2fsck or xfs_repair), or restore a snapshot.",
  });
}

/** Mounts what is there without its journal: ext4(5), xfs(5). */
export const withoutJournal = { ext4: "noload", xfs: "norecovery" } as const satisfies Record<FsType, string>;

/** Without its journal a filesystem may be inconsistent, and what was written last is not in it: nobody decides that but its owner. */
function needsReplay({ id }: VolumeRecord, device: string, type: FsType): StorageError {
  return new StorageError("precondition", `stage volumes/${id}: its ${type} has a journal to replay, and its disk is read-only`, {
    details: { device, reason: "JOURNAL_NOT_REPLAYED" },
    hint: `Connect and stage it once for writing, or give it the mount option ${withoutJournal[type]}, which shows it as it is.`,
  });
}
