import type { CallOptions } from "@zfsilo/command";
import { formatBytes, invalidField, type Bytes } from "@zfsilo/lib";
import type { ZfsOptions } from "./options.ts";
import type { Zvol } from "./parse.ts";
import type { ZfsReader } from "./reader.ts";
import type { Zfs } from "./zfs.ts";

export interface Fit {
  readonly sizeBytes: Bytes;
  readonly sparse: boolean;
}

/** Gives a volume that was made of a snapshot the size and the reservation it is to have. Repeating it is harmless. */
export async function fitVolume(zfs: Zfs, reader: ZfsReader, made: Zvol, { sizeBytes, sparse }: Fit, o: CallOptions): Promise<Zvol> {
  // Growing first: `refreservation=auto` goes by the size there is.
  const grown = made.sizeBytes === sizeBytes ? made : await zfs.growVolume(made.dataset, sizeBytes, o);
  if (sparse || grown.refreservationBytes >= sizeBytes) return grown;
  const doing = `reserve the size of ${made.dataset}`;
  const reserved = await zfs.changeVolume(doing, ["zfs", "set", "refreservation=auto", made.dataset], made.dataset, o);
  if (reserved.refreservationBytes >= sizeBytes) return reserved;
  throw reader.error("internal", `${doing}: ${formatBytes(reserved.refreservationBytes)} are reserved afterwards`);
}

export function requireNoBlockSize(options: ZfsOptions): void {
  if (options.volblocksize === undefined) return;
  throw invalidField('zfs_options["volblocksize"]', "cannot be chosen: a volume made of a snapshot has the block size of its source");
}
