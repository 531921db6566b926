import { batchArgv, CommandError, type Argv, type FileOperation } from "@zfsilo/command";
import { StorageError } from "@zfsilo/lib";

/** Something the policy does not allow. Nothing of the command or of the batch has been done. */
export class RefusalError extends StorageError {
  constructor(problem: string) {
    super("permission_denied", `the agent's policy does not allow it: ${problem}`);
    this.name = "RefusalError";
  }
}

export const refusalHint =
  "docs/agent.md lists what an agent does. When the path lies below an allowed root of the host, add that root to the agent's own list too.";

export function refusedCommand(host: string, argv: Argv, cause: RefusalError): CommandError {
  return new CommandError("permission_denied", host, argv, "not_started", cause, refusalHint);
}

export function refusedBatch(host: string, operations: readonly FileOperation[], cause: RefusalError): CommandError {
  return refusedCommand(host, batchArgv(operations), cause);
}

export function isRefusal(error: unknown): boolean {
  return error instanceof CommandError && error.cause instanceof RefusalError;
}
