import { bytes, StorageError, type Bytes } from "@zfsilo/lib";
import type { Ext4Layout } from "./ext4-layout.ts";
import type { FsExtent, FsStats, Probe } from "./types.ts";

/**
 * `blkid -p -o export`: one `KEY=VALUE` a line, of which TYPE and UUID tell a filesystem, PTTYPE a partition table.
 * A value with unusual characters has them escaped by a backslash (util-linux 2.38, misc-utils/blkid.c).
 */
export function parseBlkid(stdout: string): Probe {
  const values = new Map<string, string>();
  for (const line of stdout.split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1).replace(/\\(.)/g, "$1"));
  }
  const type = values.get("TYPE");
  const uuid = values.get("UUID");
  const label = values.get("LABEL");
  if (type !== undefined && uuid !== undefined && values.get("USAGE") === "filesystem") {
    return { kind: "filesystem", type, uuid, ...(label === undefined ? {} : { label }) };
  }
  const table = values.get("PTTYPE");
  const what = type ?? (table === undefined ? undefined : `${table} partition table`);
  if (what === undefined) throw new StorageError("internal", "read the output of blkid: it names neither TYPE nor PTTYPE");
  return { kind: "other", description: what };
}

/** `Block count:              16384`, `Block size:               4096` and `Filesystem features:      … 64bit …` of `dumpe2fs -h`. */
export function parseDumpe2fs(stdout: string): FsExtent & { readonly ext4: Ext4Layout } {
  const blockSize = /^Block size:\s+(\d+)$/m.exec(stdout)?.[1];
  const sizeBytes = product(/^Block count:\s+(\d+)$/m.exec(stdout)?.[1], blockSize, "dumpe2fs");
  const features = /^Filesystem features:\s+(.*)$/m.exec(stdout)?.[1] ?? "";
  return { sizeBytes, ext4: { blockBytes: Number(blockSize), wide: features.split(" ").includes("64bit") } };
}

/** `data     =                       bsize=4096   blocks=65536, imaxpct=25` of `xfs_info`. */
export function parseXfsInfo(stdout: string): FsExtent {
  const match = /^data\s*=\s*bsize=(\d+)\s+blocks=(\d+),/m.exec(stdout);
  return { sizeBytes: product(match?.[2], match?.[1], "xfs_info") };
}

/** `inprogress = 1` of `xfs_db -c "sb 0" -c "print inprogress"`. */
export function parseXfsInProgress(stdout: string): boolean {
  const value = /^inprogress = (\d+)$/m.exec(stdout)?.[1];
  if (value === undefined) throw new StorageError("internal", "read the output of xfs_db: it does not print inprogress");
  return value !== "0";
}

/** `4096/16000/15000/14000/4096/4085`, as we ask `stat -f` to print it. */
export function parseStatfs(stdout: string): FsStats {
  const match = /^(\d+)\/(\d+)\/(\d+)\/(\d+)\/(\d+)\/(\d+)$/.exec(stdout.trim());
  if (match === null) throw new StorageError("internal", "read the output of stat -f: not six numbers");
  const [size = 0n, total = 0n, free = 0n, available = 0n, inodes = 0n, freeInodes = 0n] = match.slice(1).map(BigInt);
  return {
    totalBytes: size * total,
    freeBytes: size * free,
    availableBytes: size * available,
    totalInodes: inodes,
    freeInodes,
  };
}

function product(count: string | undefined, size: string | undefined, tool: string): Bytes {
  if (count === undefined || size === undefined) {
    throw new StorageError("internal", `read the output of ${tool}: no block count and size`);
  }
  return bytes(BigInt(count) * BigInt(size));
}
