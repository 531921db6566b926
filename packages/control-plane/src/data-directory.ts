import { StorageError, type Logger } from "@zfsilo/lib";
import { mkdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";

export const databaseName = "zfsilo.db";

export interface DataDirectoryOptions {
  /** The operator says that an empty or missing database is meant, although a secret key is there. */
  readonly newInstallation: boolean;
  readonly log: Logger;
}

/** Makes the data directory, or refuses one that cannot be trusted or lacks its database. A refusal changes nothing. */
export async function prepareDataDirectory(dataDir: string, { newInstallation, log }: DataDirectoryOptions): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await requireOwn(dataDir);
  const kind = filesystemKind((await statfs(dataDir)).type);
  if (kind?.refused === true) throw onNetwork(dataDir, kind.name);
  if (kind !== undefined) log.warn({ dataDir, filesystem: kind.name }, "the database is on a filesystem that may not keep it safe: see docs/operations.md");
  if (!newInstallation) await requireDatabase(dataDir);
}

/**
 * Whoever else may write here can replace the key, the token and the database. Root may anyway. Throws precondition with the
 * command that mends it.
 */
export async function requireOwn(path: string): Promise<void> {
  const { mode, uid } = await stat(path);
  const own = process.getuid?.() ?? 0;
  if (uid !== own && uid !== 0) {
    throw new StorageError("precondition", `${path} belongs to user ${uid}, and zfsilo runs as user ${own}`, {
      hint: `Run \`chown ${own} ${path}\` if its content can be trusted, or use another data directory. Nothing was started.`,
    });
  }
  if ((mode & 0o022) === 0) return;
  throw new StorageError("precondition", `${path} can be written by others than its owner`, {
    hint: `Run \`chmod go-w ${path}\`, and consider who may have written there. Nothing was started.`,
  });
}

async function requireDatabase(dataDir: string): Promise<void> {
  const database = join(dataDir, databaseName);
  const key = join(dataDir, "secret.key");
  if ((await sizeOf(database)) > 0 || (await sizeOf(key)) === 0) return;
  throw new StorageError("precondition", `${database} is missing or empty, and ${key} is there: this installation has lost its database`, {
    details: { reason: "DATABASE_MISSING" },
    hint: `Restore ${databaseName} from a backup. To begin anew without the volumes that it knew, start once with ZFSILO_NEW_INSTALLATION=1. Nothing was changed.`,
  });
}

/** 0 also for what is not there. */
async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(absent))?.size ?? 0;
}

function absent(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}

/** `f_type` of statfs(2), as the kernel's include/uapi/linux/magic.h has them. */
const filesystems: ReadonlyMap<number, { readonly name: string; readonly refused: boolean }> = new Map([
  [0x6969, { name: "NFS", refused: true }],
  [0x517b, { name: "SMB", refused: true }],
  [0xff534d42, { name: "SMB", refused: true }],
  [0xfe534d42, { name: "SMB", refused: true }],
  [0x5346414f, { name: "AFS", refused: true }],
  [0x73757245, { name: "Coda", refused: true }],
  [0x00c36400, { name: "CephFS", refused: true }],
  // What lies beneath these is not told: it may be a local disk, as below a virtual machine or a desktop.
  [0x65735546, { name: "FUSE", refused: false }],
  [0x01021997, { name: "9P", refused: false }],
]);

/** Undefined for local filesystems. */
export function filesystemKind(type: number): { readonly name: string; readonly refused: boolean } | undefined {
  // f_type is a signed long: a 32-bit kernel shows the SMB numbers as negative.
  return filesystems.get(type >>> 0);
}

function onNetwork(dataDir: string, name: string): StorageError {
  return new StorageError("precondition", `${dataDir} is on ${name}: SQLite's write-ahead log is not safe on network filesystems`, {
    details: { reason: "DATABASE_ON_NETWORK_FILESYSTEM" },
    hint: "Move the directory to a local disk or a block volume while zfsilo is stopped (https://sqlite.org/wal.html). Nothing was changed.",
  });
}
