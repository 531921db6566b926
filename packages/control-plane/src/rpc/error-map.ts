import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, HelpSchema } from "@zfsilo/api";
import { shortened, StorageError, type Reason } from "@zfsilo/lib";

const connectCode = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  no_space: Code.ResourceExhausted,
  busy: Code.FailedPrecondition,
  has_dependents: Code.FailedPrecondition,
  precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  unavailable: Code.Unavailable,
  timeout: Code.DeadlineExceeded,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
} as const satisfies Record<Reason, Code>;

/** The most of a message and of a hint: both travel in HTTP/2 trailers, the message twice. */
const maxMessageBytes = 2048;
const maxHintBytes = 1024;

type Details = NonNullable<ConstructorParameters<typeof ConnectError>[3]>;

/**
 * What a caller is told about a failure. Of errors that are not ours nothing is told but where to look: their texts may
 * hold anything.
 */
export function toConnectError(error: unknown, requestId: string): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof StorageError)) {
    const details: Details = [{ desc: ErrorInfoSchema, value: { reason: "INTERNAL", domain: "zfsilo" } }];
    return new ConnectError(`internal error; see the server log, request id ${requestId}`, Code.Internal, undefined, details, error);
  }
  const message = shortened(chainMessage(error, requestId), maxMessageBytes);
  return new ConnectError(message, connectCode[error.reason], undefined, detailsOf(error, message), error);
}

/** `details.reason` names the failure more exactly than the error's reason, which is one of a few words. */
function detailsOf(error: StorageError, message: string): Details {
  const { reason, ...metadata } = error.details;
  const details: Details = [
    { desc: ErrorInfoSchema, value: { reason: reason ?? error.reason.toUpperCase(), domain: "zfsilo", metadata } },
  ];
  if (metadata["field"] !== undefined) {
    const violation = { field: metadata["field"], description: message };
    details.push({ desc: BadRequestSchema, value: { fieldViolations: [violation] } });
  }
  if (error.hint !== undefined) details.push({ desc: HelpSchema, value: { links: [{ description: shortened(error.hint, maxHintBytes) }] } });
  return details;
}

/** The messages of our own errors from the outermost on, up to the first that is not ours. */
function chainMessage(error: StorageError, requestId: string): string {
  const messages: string[] = [];
  let link: unknown = error;
  for (let depth = 0; link instanceof StorageError && depth < 10; depth += 1) {
    messages.push(link.message);
    link = link.cause;
  }
  const hidden = error.reason === "internal" && link !== undefined;
  return `${messages.join(": ")}${hidden ? ` (see the server log, request id ${requestId})` : ""}`;
}
