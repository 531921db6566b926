import type { Code} from "@connectrpc/connect";
import { ConnectError, type Interceptor, type StreamResponse } from "@connectrpc/connect";
import { ErrorInfoSchema, HelpSchema } from "@zfsilo/api";

/**
 * What the control plane answered instead of doing it. Not a ConnectError: those that leave a handler are for the caller of
 * this driver, and these carry headers of another connection and codes that mean something else in CSI.
 */
export class ControlPlaneError extends Error {
  readonly code: Code;
  /** The exact reason, e.g. NOT_CONNECTED; empty when the failure is the way there. */
  readonly reason: string;
  /** What a person can do. */
  readonly hint: string;

  constructor(method: string, cause: ConnectError) {
    super(`${method}: ${cause.rawMessage}`, { cause });
    this.name = "ControlPlaneError";
    this.code = cause.code;
    const [info] = cause.findDetails(ErrorInfoSchema);
    this.reason = info?.reason ?? "";
    this.hint = cause.findDetails(HelpSchema)[0]?.links[0]?.description ?? "";
  }
}

/** Whether the control plane answered with this code. */
export function answered(error: unknown, ...codes: readonly Code[]): boolean {
  return error instanceof ControlPlaneError && codes.includes(error.code);
}

/** For clients of the control plane: makes their failures ControlPlaneErrors. */
export const asControlPlaneError: Interceptor = (next) => async (request) => {
  const convert = (error: unknown): unknown => new ControlPlaneError(request.method.name, ConnectError.from(error));
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: converting(response.message, convert) } : response;
  } catch (error) {
    throw convert(error);
  }
};

async function* converting(messages: StreamResponse["message"], convert: (error: unknown) => unknown): StreamResponse["message"] {
  try {
    yield* messages;
  } catch (error) {
    throw convert(error);
  }
}
