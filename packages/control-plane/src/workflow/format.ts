import { describeProbe, isFilesystem, type Zvol } from "@zfsilo/host";
import { StorageError, wrapError, type Logger } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import type { FilesystemRecord, VolumeRecord } from "../store/model.ts";

export function requireFilesystem(volume: VolumeRecord): FilesystemRecord {
  if (volume.filesystem !== undefined) return volume.filesystem;
  throw new StorageError("internal", `volumes/${volume.id} is of mode filesystem but has none recorded`);
}

/** What a zvol is marked with once it holds the filesystem. */
export function formattedMark({ type, uuid }: Pick<FilesystemRecord, "type" | "uuid">): string {
  return `${type}:${uuid}`;
}

export interface MadeFilesystem {
  /** What the zvol is to be marked with. */
  readonly mark: string;
  /** Made just now, and read back: nobody has mounted it yet. */
  readonly isFresh: boolean;
}

export interface ToFormat {
  readonly target: Machine;
  readonly initiator: Machine;
  readonly zvol: Zvol;
  /** On the initiator. */
  readonly device: string;
  readonly filesystem: FilesystemRecord;
  /** Records that mkfs is about to write to the device, which is blank. */
  readonly begin: () => Promise<void>;
}

/**
 * The only place that makes a filesystem (I2). It does so when neither row nor zvol says "formatted" and the device probes
 * blank. A whole filesystem with exactly the UUID we chose at creation is ours, made before a crash kept it from being
 * recorded. What a mkfs of ours left when it was interrupted is erased first. Everything else is refused.
 */
export async function ensureFilesystemMade(
  { target, initiator: { filesystems }, zvol, device, filesystem, begin }: ToFormat,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<MadeFilesystem> {
  const mark = formattedMark(filesystem);
  const { type, uuid, mkfsOptions: options, making = false } = filesystem;
  if (zvol.formatted === undefined) {
    // The device was blank when our mkfs began, and nothing is mounted before it is recorded to have ended: what it left holds no data.
    const erase = async (): Promise<void> => {
      log.warn({ dataset: zvol.dataset, device }, "mkfs was interrupted: erasing what it left");
      await target.filesystems.eraseStart(zvol.dataset, { signal });
    };
    const eraseUnfinished = making ? erase : undefined;
    const outcome = await filesystems.make({ device, type, uuid, options, deviceBytes: zvol.sizeBytes, begin, eraseUnfinished }, { signal }).catch((error: unknown) => {
      throw wrapError(`format ${zvol.dataset}`, error, { dataset: zvol.dataset });
    });
    log.info({ dataset: zvol.dataset, device, type, outcome }, "make filesystem");
    return { mark, isFresh: outcome === "made" };
  }
  const found = await filesystems.probe(device, { signal });
  if (zvol.formatted === mark && isFilesystem(found, type, uuid)) return { mark, isFresh: false };
  throw new StorageError("precondition", `make a filesystem on ${zvol.dataset}: it was formatted as ${zvol.formatted} and holds ${describeProbe(found)}`, {
    details: { reason: "NOT_BLANK", dataset: zvol.dataset },
    hint: "Only a volume that never was formatted and reads blank is formatted. Nothing was changed.",
  });
}
