import { ConnectError, type Code, type Interceptor, type StreamResponse } from "@connectrpc/connect";
import { ErrorInfoSchema, HelpSchema } from "@zfsilo/api";

/**
 * What the control plane answered instead of doing it. Never handed to a caller of this driver as it is: the codes mean
 * something else in CSI, and the headers belong to another connection.
 */
export class ControlPlaneError extends Error {
  readonly code: Code;
  /** False: nothing that it wrote. A connection that broke has a code too, INTERNAL among them. */
  readonly isItsWord: boolean;
  /** Its exact word for what is wrong, such as `LARGER_THAN_POOL`; empty when it did not write it. */
  readonly reason: string;
  /** The field of the request it is about. */
  readonly field: string;
  /** What a person can do. */
  readonly hint: string;

  constructor(method: string, cause: ConnectError) {
    super(`${method}: ${cause.rawMessage}`, { cause });
    this.name = "ControlPlaneError";
    this.code = cause.code;
    const [info] = cause.findDetails(ErrorInfoSchema);
    this.isItsWord = info !== undefined;
    this.reason = info?.reason ?? "";
    this.field = info?.metadata["field"] ?? "";
    this.hint = cause.findDetails(HelpSchema)[0]?.links[0]?.description ?? "";
  }
}

/** Clients put a ConnectError around whatever their interceptors throw. */
export function controlPlaneError(error: unknown): ControlPlaneError | undefined {
  const inner = error instanceof ConnectError ? error.cause : error;
  return inner instanceof ControlPlaneError ? inner : undefined;
}

/** Whether the control plane answered with one of these codes. */
export function answered(error: unknown, ...codes: readonly Code[]): boolean {
  const answer = controlPlaneError(error);
  return answer !== undefined && codes.includes(answer.code);
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
