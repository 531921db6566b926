import { StorageError, type Logger } from "@zfsilo/lib";
import type { Zvol } from "@zfsilo/host";
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

/**
 * The only place that makes a filesystem (I2). It does so when neither row nor zvol says "formatted" and the device probes
 * blank. A filesystem with exactly the UUID we chose at creation is ours, made before a crash kept it from being recorded.
 * Everything else is refused. Returns what the zvol is to be marked with.
 */
export async function ensureFilesystemMade(
  { filesystems }: Machine,
  zvol: Zvol,
  filesystem: FilesystemRecord,
  device: string,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<string> {
  const mark = formattedMark(filesystem);
  if (zvol.formatted !== undefined && zvol.formatted !== mark) {
    throw refuse(zvol, `the zvol says it was formatted as ${zvol.formatted}`);
  }
  const found = await filesystems.probe(device, { signal });
  if (found.kind === "filesystem" && found.uuid === filesystem.uuid && found.type === filesystem.type) return mark;
  if (found.kind !== "blank") {
    throw refuse(zvol, found.kind === "filesystem" ? `it holds ${found.type} ${found.uuid}` : `it holds ${found.description}`);
  }
  if (zvol.formatted !== undefined) throw refuse(zvol, "the zvol says it was formatted, and the device reads blank");
  log.info({ dataset: zvol.dataset, device, type: filesystem.type }, "making filesystem");
  await filesystems.make(
    { device, type: filesystem.type, uuid: filesystem.uuid, options: filesystem.mkfsOptions },
    { signal },
  );
  return mark;
}

function refuse(zvol: Zvol, why: string): StorageError {
  return new StorageError("precondition", `make a filesystem on ${zvol.dataset}: ${why}`, {
    details: { reason: "NOT_BLANK", dataset: zvol.dataset },
    hint: "Only a volume that never was formatted and reads blank is formatted. Nothing was changed.",
  });
}
