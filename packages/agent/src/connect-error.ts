import { Code, ConnectError } from "@connectrpc/connect";
import { HelpSchema } from "@zfsilo/api";
import { StorageError, type Reason } from "@zfsilo/lib";

const reasons: Partial<Record<Code, Reason>> = {
  [Code.Unauthenticated]: "unauthenticated",
  [Code.PermissionDenied]: "permission_denied",
  [Code.FailedPrecondition]: "precondition",
  [Code.Aborted]: "aborted",
  [Code.InvalidArgument]: "invalid_argument",
  [Code.Unavailable]: "unavailable",
  [Code.DeadlineExceeded]: "timeout",
};

/** A failure of a call as an error of ours, with what the control plane says can be done. */
export function explain(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  const hint = error.findDetails(HelpSchema)[0]?.links[0]?.description;
  return new StorageError(reasons[error.code] ?? "internal", `the control plane answered: ${error.rawMessage}`, {
    cause: error.cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

export function isRefusedIdentity(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unauthenticated;
}
