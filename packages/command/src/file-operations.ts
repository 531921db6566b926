import { BugError, StorageError } from "@zfsilo/lib";
import { errnoNumber } from "./errno.ts";
import type { Argv, FileOperation } from "./executor.ts";

/** Most bytes of one file a `read` or `read-glob` returns when it does not say, 1 MiB. */
export const defaultMaxBytes = 1024 * 1024;

export const defaultDirectoryMode = 0o755;

/**
 * Refuses a batch that no host could perform, before any of it takes effect. A relative path would mean another file on
 * each kind of host (our own directory here, the home directory there).
 */
export function checkFileOperations(operations: readonly FileOperation[]): void {
  operations.forEach((operation, index) => {
    const { op, path } = operation;
    if (!path.startsWith("/") || path.includes("\0")) {
      throw new StorageError("invalid_argument", `${op} ${JSON.stringify(path)}: not an absolute path (operation ${index})`);
    }
    if (operation.op === "symlink" && operation.target.includes("\0")) {
      throw new StorageError("invalid_argument", `symlink ${path}: the target holds a NUL character`);
    }
    for (const name of operation.tolerate ?? []) {
      if (errnoNumber(name) === undefined) throw new BugError(`tolerated error ${name} does not exist`);
    }
  });
}

/** What a batch is called in a CommandError, which names a command: its first operation and how many follow. */
export function batchArgv(operations: readonly FileOperation[]): Argv {
  const first = operations[0];
  if (first === undefined) return ["file-operations"];
  const more = operations.length - 1;
  return ["file-operations", first.op, first.path, ...(more === 0 ? [] : [`and ${more} more`])];
}

/** Order of the bytes of the UTF-8 form, as the interface promises; JavaScript's own order is that of UTF-16 units. */
export function byByteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
