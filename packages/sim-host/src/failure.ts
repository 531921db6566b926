import type { Errno } from "@zfsilo/command";

/** A system call that the simulated kernel refused. Reaches callers as FileOperationError, or as a tool's own message. */
export class KernelError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno, where: string) {
    super(`${errno}: ${where}`);
    this.name = "KernelError";
    this.errno = errno;
  }
}

/** Something a real machine may well have and this one does not: a gap to close, never an answer to rely on. */
export class UnmodelledError extends Error {
  constructor(what: string) {
    super(`the simulated machine does not model ${what}`);
    this.name = "UnmodelledError";
  }
}

/** A tool that waits for something which does not come. The caller's deadline or signal ends it. */
export class Hang extends Error {
  constructor(what: string) {
    super(`hangs: ${what}`);
    this.name = "Hang";
  }
}

const errnoTexts: Readonly<Record<string, string>> = {
  ENOENT: "No such file or directory",
  EIO: "Input/output error",
  EBUSY: "Device or resource busy",
  EEXIST: "File exists",
  EINVAL: "Invalid argument",
  ENOTDIR: "Not a directory",
  EISDIR: "Is a directory",
  EACCES: "Permission denied",
  EPERM: "Operation not permitted",
  EROFS: "Read-only file system",
  ENOSPC: "No space left on device",
  ENOTEMPTY: "Directory not empty",
  ENODEV: "No such device",
  ENXIO: "No such device or address",
  ELOOP: "Too many levels of symbolic links",
  E512: "Unknown error 512",
};

/** What strerror(3) of glibc says in the C locale. */
export function errnoText(errno: Errno): string {
  const text = errnoTexts[errno];
  if (text === undefined) throw new UnmodelledError(`the text of ${errno}`);
  return text;
}
