import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, HelpSchema } from "@zfsilo/api";
import { shortened, StorageError, withShortWords, type Reason } from "@zfsilo/lib";

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
  if (error instanceof ConnectError) return fromConnect(error);
  if (!(error instanceof StorageError)) {
    const details: Details = [errorInfo("INTERNAL")];
    return new ConnectError(`internal error; see the server log, request id ${requestId}`, Code.Internal, undefined, details, error);
  }
  const message = shorten(chainMessage(error, requestId));
  return new ConnectError(message, connectCode[error.reason], undefined, detailsOf(error, message), error);
}

/** The code as logs and metrics have it, e.g. `not_found`. */
export function codeWord(code: Code): string {
  return Code[code].replaceAll(/(?<=.)[A-Z]/g, "_$&").toLowerCase();
}

export function errorInfo(reason: string, metadata: Record<string, string> = {}): Details[number] {
  return { desc: ErrorInfoSchema, value: { reason, domain: "zfsilo", metadata } };
}

/**
 * A refusal of connect-node itself, which knows nothing of our details. Those that blame a message blame the caller, though some
 * have the code Internal (parse binary, decompression failed; connect 2.1.2, protocol/serialization.ts).
 */
function fromConnect(error: ConnectError): ConnectError {
  if (error.findDetails(ErrorInfoSchema).length > 0) return error;
  const unreadable = error.code === Code.Internal && /^(?:parse binary|decompression failed|protocol error)/.test(error.rawMessage);
  const code = unreadable ? Code.InvalidArgument : error.code;
  const reason = code === Code.ResourceExhausted ? "MESSAGE_TOO_LARGE" : codeWord(code).toUpperCase();
  return new ConnectError(shorten(error.rawMessage), code, error.metadata, [errorInfo(reason)], error);
}

function shorten(text: string): string {
  return shortened(withShortWords(text), maxMessageBytes);
}

/** `details.reason` names the failure more exactly than the error's reason, which is one of a few words. */
function detailsOf(error: StorageError, message: string): Details {
  const { reason, ...metadata } = error.details;
  const short = Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, shorten(value)]));
  const details: Details = [errorInfo(reason ?? error.reason.toUpperCase(), short)];
  if (metadata["field"] !== undefined) {
    const violation = { field: shorten(metadata["field"]), description: message };
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
