import { Code, ConnectError, type Interceptor, type StreamRequest, type StreamResponse, type UnaryRequest } from "@connectrpc/connect";
import { errorChain, shortened, StorageError, type Logger } from "@zfsilo/lib";
import { controlPlaneError } from "../control-plane-error.ts";
import { toCsiError } from "../error-map.ts";

/** What may be logged of a request: ids and paths. Everything else may hold a secret, so it is never even looked at. */
const loggedFields = ["volumeId", "nodeId", "snapshotId", "groupSnapshotId", "name", "stagingTargetPath", "targetPath"] as const;

const maxLoggedBytes = 4096;

/** Answers in CSI's codes, and logs each call once when it has ended. Probes come every few seconds and are not news. */
export function callInterceptor(log: Logger): Interceptor {
  return (next) => async (request) => {
    const call = new Call(request, log);
    try {
      const response = await next(request);
      if (response.stream) return { ...response, message: call.watched(response.message) };
      call.ended(undefined);
      return response;
    } catch (error) {
      throw call.failed(error);
    }
  };
}

class Call {
  readonly #request: UnaryRequest | StreamRequest;
  readonly #log: Logger;
  readonly #began = performance.now();

  constructor(request: UnaryRequest | StreamRequest, log: Logger) {
    this.#request = request;
    this.#log = log.child({ rpc: request.method.name, ...describe(request) });
  }

  async *watched(messages: StreamResponse["message"]): StreamResponse["message"] {
    try {
      yield* messages;
    } catch (error) {
      throw this.failed(error);
    }
    this.ended(undefined);
  }

  failed(error: unknown): ConnectError {
    const { signal } = this.#request;
    // The caller stopped waiting. What was begun goes on at the control plane, and a repeated call finds it (I7).
    const gone = signal.aborted && signal.reason instanceof ConnectError;
    const mapped = gone ? (signal.reason) : toCsiError(error);
    this.ended(mapped, error);
    return mapped;
  }

  ended(mapped: ConnectError | undefined, error?: unknown): void {
    const ms = Math.round((performance.now() - this.#began) * 10) / 10;
    if (mapped === undefined) {
      this.#log[this.#request.method.name === "Probe" ? "trace" : "info"]({ code: "OK", ms }, "call");
      return;
    }
    const code = Code[mapped.code];
    if (mapped.code === Code.Internal) this.#log.error({ code, ms, err: error }, "call failed");
    else this.#log.info({ code, ms, reason: reasonFor(mapped, error), error: shortened(textOf(error), maxLoggedBytes) }, "call refused");
  }
}

/** The most exact word for it that somebody gave. */
function reasonFor(mapped: ConnectError, error: unknown): string {
  if (error instanceof StorageError) return error.reason;
  const word = controlPlaneError(error)?.reason ?? "";
  return (word === "" ? Code[mapped.code].replaceAll(/(?<=.)[A-Z]/g, "_$&") : word).toLowerCase();
}

/** An answer of the control plane is told once: its causes repeat it. */
function textOf(error: unknown): string {
  const answer = controlPlaneError(error);
  return answer === undefined ? errorChain(error) : answer.message;
}

function describe(request: UnaryRequest | StreamRequest): Record<string, string> {
  if (request.stream) return {};
  const message = request.message as unknown as Readonly<Record<string, unknown>>;
  const found: Record<string, string> = {};
  for (const field of loggedFields) {
    const value = message[field];
    if (typeof value === "string" && value !== "") found[field] = value.slice(0, 256);
  }
  return found;
}
