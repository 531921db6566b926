import { truncate, writeFile } from "node:fs/promises";
import { mustRun, type ToolOptions } from "./run-tool.ts";

const mib = 2 ** 20;

/** A file system with a directory's content, owned by root, as a disk for machines to read (`Machine.plugDisk`). */
export async function makeDiskImage(directory: string, file: string, options: Pick<ToolOptions, "signal">): Promise<void> {
  const used = await mustRun("measure what goes on a disk", ["du", "-s", "-B1", "--apparent-size", directory], options);
  // A fifth and 8 MiB more: inodes, and the last blocks of files. The file is sparse.
  const bytes = Math.ceil((Number.parseInt(used, 10) * 1.2) / mib + 8) * mib;
  await writeFile(file, "");
  await truncate(file, bytes);
  const features = ["-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard"];
  await mustRun("make a disk image", ["mke2fs", "-q", "-t", "ext4", ...features, "-d", directory, file], options);
}
