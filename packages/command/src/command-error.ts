import { StorageError, type Reason } from "@zfsilo/lib";
import type { Argv, Errno, FileOperation, RunResult } from "./executor.ts";

/** Whether a command that gave no exit may have changed the host. */
export type Outcome = "not_started" | "unknown";

/** A command that gave no exit status. `outcome: "unknown"` must be treated as "it may have happened". */
export class CommandError extends StorageError {
  readonly argv: Argv;
  readonly outcome: Outcome;

  constructor(reason: Reason, host: string, argv: Argv, outcome: Outcome, cause: unknown, hint?: string) {
    super(reason, `run ${argv.join(" ")} on ${host}`, {
      cause: showable(reason, cause),
      details: { host, outcome },
      ...(hint === undefined ? {} : { hint }),
    });
    this.name = "CommandError";
    this.argv = argv;
    this.outcome = outcome;
  }
}

/** What the system said, as an error of ours, so that a caller is shown it. */
function showable(reason: Reason, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof StorageError) return cause;
  return new StorageError(reason, cause.message, { cause });
}

/** A streamed pipe of which a program ended with another exit than 0, after its last output. */
export class StreamExitError extends StorageError {
  readonly argv: Argv;
  readonly result: RunResult;

  /** `stderr` is the start of what both said there. */
  constructor(host: string, argv: Argv, exitCode: number, stderr: string) {
    super("internal", `run ${argv.join(" ")} on ${host}`, {
      cause: new StorageError("internal", `exited with ${exitCode}${stderr.trim() === "" ? "" : `: ${stderr.trim().slice(0, 1024)}`}`),
      details: { host },
    });
    this.name = "StreamExitError";
    this.argv = argv;
    this.result = { exitCode, stdout: "", stderr };
  }
}

/** Errno names whose meaning does not depend on which file they came from. */
const reasonByErrno: Readonly<Record<Errno, Reason>> = {
  ENOENT: "not_found",
  EEXIST: "already_exists",
  EBUSY: "busy",
  ENOTEMPTY: "busy",
  ENOSPC: "no_space",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
};

/** A file operation of a batch that the kernel refused. Operations before `index` took effect, later ones did not. */
export class FileOperationError extends StorageError {
  readonly errno: Errno;
  readonly index: number;
  readonly operation: Pick<FileOperation, "op" | "path">;

  constructor(host: string, index: number, operation: Pick<FileOperation, "op" | "path">, errno: Errno) {
    super(reasonByErrno[errno] ?? "internal", `${operation.op} ${operation.path} on ${host}`, {
      cause: new StorageError(reasonByErrno[errno] ?? "internal", errno),
      details: { host, errno },
    });
    this.name = "FileOperationError";
    this.errno = errno;
    this.index = index;
    this.operation = { op: operation.op, path: operation.path };
  }
}

export type CommandOutputProblem = { readonly argv: Argv; readonly output: string };

/** A tool that answered something we cannot read: truncated, another version, or garbage. Shows at most 1 KiB of it. */
export class CommandOutputError extends StorageError {
  constructor(host: string, { argv, output }: CommandOutputProblem, cause?: unknown) {
    super("internal", `read the output of ${argv.join(" ")} on ${host}: ${JSON.stringify(output.slice(0, 1024))}`, {
      details: { host },
      ...(cause === undefined ? {} : { cause }),
    });
    this.name = "CommandOutputError";
  }
}
