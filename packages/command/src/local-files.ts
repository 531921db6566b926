import { constants, type Dirent } from "node:fs";
import { mkdir, open, readdir, readlink, rmdir, symlink, unlink, type FileHandle } from "node:fs/promises";
import { assertNever } from "@zfsilo/lib";
import type { FileOperation, FileResult } from "./executor.ts";
import { byByteOrder, defaultDirectoryMode, defaultMaxBytes } from "./file-operations.ts";

const chunkBytes = 64 * 1024;

/** Performs one operation on this machine. Failures are Node's own system errors. */
export async function performFileOperation(operation: FileOperation): Promise<FileResult> {
  switch (operation.op) {
    case "mkdir":
      await mkdir(operation.path, { mode: operation.mode ?? defaultDirectoryMode });
      return {};
    case "rmdir":
      await rmdir(operation.path);
      return {};
    case "unlink":
      await unlink(operation.path);
      return {};
    case "symlink":
      await symlink(operation.target, operation.path);
      return {};
    case "readlink":
      return { text: await readlink(operation.path) };
    case "read":
      return { text: await readStart(operation.path, operation.maxBytes ?? defaultMaxBytes) };
    case "read-glob":
      return { files: await readMatches(operation.path) };
    case "list":
      return { entries: (await readdir(operation.path)).sort(byByteOrder) };
    case "write":
      await writeOnce(operation.path, operation.content, operation.create);
      return {};
    default:
      return assertNever(operation);
  }
}

/** Not readFile: it trusts the file's size, which sysfs gives as 4096 and /proc as 0, and knows no limit. */
async function readStart(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY);
  return await closing(file, async () => {
    const chunks: Buffer[] = [];
    let left = maxBytes;
    while (left > 0) {
      const chunk = Buffer.allocUnsafe(Math.min(left, chunkBytes));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) break;
      chunks.push(chunk.subarray(0, bytesRead));
      left -= bytesRead;
    }
    return Buffer.concat(chunks).toString("utf8");
  });
}

async function writeOnce(path: string, content: string, create: { readonly mode: number } | undefined): Promise<void> {
  const flags = constants.O_WRONLY | (create === undefined ? 0 : constants.O_CREAT | constants.O_TRUNC);
  const file = await open(path, flags, create?.mode);
  await closing(file, async () => {
    const bytes = Buffer.from(content, "utf8");
    const { bytesWritten } = await file.write(bytes, 0, bytes.length, null);
    // A second write(2) would be a second command to configfs, so the rest is not sent.
    if (bytesWritten !== bytes.length) throw shortWrite(path);
  });
}

function shortWrite(path: string): Error {
  return Object.assign(new Error(`short write to ${path}`), { errno: -5, code: "EIO" });
}

/** Closes on every path; the failure of the work itself wins over that of the close. */
async function closing<T>(file: FileHandle, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await file.close().catch(() => undefined);
    throw error;
  }
  await file.close();
  return result;
}

async function readMatches(pattern: string): Promise<[path: string, content: string][]> {
  let paths = [""];
  for (const part of pattern.split("/").slice(1)) {
    if (!part.includes("*")) paths = paths.map((path) => `${path}/${part}`);
    else paths = (await Promise.all(paths.map((directory) => matchesIn(directory, part)))).flat();
  }
  const files: [string, string][] = [];
  for (const path of paths.sort(byByteOrder)) {
    const content = await readStart(path, defaultMaxBytes).catch(() => undefined);
    if (content !== undefined) files.push([path, content]);
  }
  return files;
}

async function matchesIn(directory: string, part: string): Promise<string[]> {
  const entries = await readdir(directory === "" ? "/" : directory, { withFileTypes: true }).catch((): Dirent[] => []);
  const pattern = new RegExp(`^${part.split("*").map(escapeForRegExp).join(".*")}$`, "su");
  return entries
    .map((entry) => entry.name)
    .filter((name) => pattern.test(name) && (part.startsWith(".") || !name.startsWith(".")))
    .map((name) => `${directory}/${name}`);
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.|?*+()[\]{}/]/g, "\\$&");
}
