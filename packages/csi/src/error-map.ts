import { Code, ConnectError } from "@connectrpc/connect";
import { shortened, StorageError, withShortWords, type Reason } from "@zfsilo/lib";
import { controlPlaneError, type ControlPlaneError } from "./control-plane-error.ts";

/** Our own refusals in CSI's codes (spec, "Error Scheme"). */
const codeOfReason = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  no_space: Code.ResourceExhausted,
  busy: Code.FailedPrecondition,
  has_dependents: Code.FailedPrecondition,
  precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  unavailable: Code.Unavailable,
  timeout: Code.Unavailable,
  unauthenticated: Code.Unavailable,
  permission_denied: Code.Unavailable,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
} as const satisfies Record<Reason, Code>;

/**
 * What the control plane's codes mean to a CSI caller. Three differ. A limit of the control plane's own is not the
 * caller's deadline: the call may be repeated at once. That it refuses our credential is our trouble, not the caller's,
 * and may be mended meanwhile. The sidecars take these for passing.
 */
const codeOfControlPlane: Readonly<Partial<Record<Code, Code>>> = {
  [Code.DeadlineExceeded]: Code.Unavailable,
  [Code.Unauthenticated]: Code.Unavailable,
  [Code.PermissionDenied]: Code.Unavailable,
  [Code.Canceled]: Code.Unavailable,
  [Code.Unknown]: Code.Internal,
};

/**
 * What a broken connection is called on the way: a session that HTTP/2 gave up (RFC 9113, 7), an answer that was cut off.
 * Whether the call had its effect is unknown, and INTERNAL would tell external-provisioner that it had none
 * (isFinalError in its controller).
 */
const codesOfBrokenConnections = new Set<Code>([Code.Internal, Code.Unknown, Code.DataLoss]);

/**
 * The most of a message that is sent. It goes into an HTTP/2 header, where a client takes 8 KiB and more (grpc-js: 64 KiB of all
 * headers, percent-encoded), and into an event of Kubernetes, which keeps 1 KiB.
 */
const maxMessageBytes = 2048;

/** A size that cannot be had whatever the pool holds: CSI has a code for it that the control plane has not. */
export function outOfRange(message: string): ConnectError {
  return new ConnectError(message, Code.OutOfRange);
}

/** More than the filesystem can grow to, say: to the control plane a wrong field, to CSI OUT_OF_RANGE. */
export function isSizeNobodyCanHave(answer: ControlPlaneError): boolean {
  return answer.code === Code.InvalidArgument && answer.field === "volume.capacity_bytes";
}

export function toCsiError(error: unknown): ConnectError {
  const mapped = mapError(error);
  const message = shortened(withShortWords(mapped.rawMessage), maxMessageBytes);
  return message === mapped.rawMessage ? mapped : new ConnectError(message, mapped.code, undefined, undefined, mapped.cause);
}

function mapError(error: unknown): ConnectError {
  const answer = controlPlaneError(error);
  if (answer !== undefined) {
    const wasCutOff = !answer.isItsWord && codesOfBrokenConnections.has(answer.code);
    const code = wasCutOff ? Code.Unavailable : (codeOfControlPlane[answer.code] ?? answer.code);
    return new ConnectError(withHint(answer.message, answer.hint), code, undefined, undefined, error);
  }
  if (error instanceof ConnectError) return error;
  if (error instanceof StorageError) {
    return new ConnectError(withHint(error.message, error.hint), codeOfReason[error.reason], undefined, undefined, error);
  }
  return new ConnectError("internal error; see the driver's log", Code.Internal, undefined, undefined, error);
}

/** Kubernetes shows the message alone, in the events of a pod or claim. */
export function withHint(message: string, hint: string | undefined): string {
  return hint === undefined || hint === "" ? message : `${message}. ${hint}`;
}
