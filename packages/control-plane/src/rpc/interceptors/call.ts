import { Code, type ConnectError, type Interceptor, type StreamResponse, type UnaryRequest, type StreamRequest } from "@connectrpc/connect";
import type { Logger } from "@zfsilo/lib";
import { arrivalKey, requestIdFrom, requestIdHeader } from "../arrival.ts";
import { callContext, type CallContext } from "../call-context.ts";
import { codeWord, toConnectError } from "../error-map.ts";

/** Told about each call that ended, for metrics. */
export interface CallObserver {
  ended(method: string, code: string, seconds: number): void;
}

/**
 * The outermost interceptor: gives each call an id, turns what it throws into what the caller may see, and logs and counts
 * it once, when it has ended (a stream: when its last message is out).
 */
export function callInterceptor(log: Logger, observer: CallObserver): Interceptor {
  return (next) => async (request) => {
    const call = new Call(request, log, observer);
    request.contextValues.set(callContext, call.context);
    try {
      const response = await next(request);
      response.header.set(requestIdHeader, call.context.requestId);
      if (response.stream) return { ...response, message: call.watched(response.message) };
      call.ended(undefined);
      return response;
    } catch (error) {
      throw call.failed(error);
    }
  };
}

class Call {
  readonly context: CallContext;
  readonly #request: UnaryRequest | StreamRequest;
  readonly #method: string;
  readonly #observer: CallObserver;
  readonly #began = performance.now();

  constructor(request: UnaryRequest | StreamRequest, log: Logger, observer: CallObserver) {
    this.#request = request;
    this.#method = `${request.service.typeName}/${request.method.name}`;
    this.#observer = observer;
    const { requestId, caller } = request.contextValues.get(arrivalKey) ?? { requestId: requestIdFrom(request.header.get(requestIdHeader)), caller: "" };
    this.context = { requestId, caller, log: log.child({ rpc: this.#method, requestId }) };
  }

  async *watched(messages: StreamResponse["message"]): StreamResponse["message"] {
    let finished = false;
    try {
      yield* messages;
      finished = true;
      this.ended(undefined);
    } catch (error) {
      finished = true;
      throw this.failed(error);
    } finally {
      // The caller went away between two messages.
      if (!finished) this.#report(codeWord(Code.Canceled), undefined);
    }
  }

  failed(error: unknown): ConnectError {
    const aborted = this.#request.signal.aborted && isAbort(error);
    const mapped = toConnectError(aborted ? this.#request.signal.reason : error, this.context.requestId);
    mapped.metadata.set(requestIdHeader, this.context.requestId);
    this.ended(mapped, error);
    return mapped;
  }

  ended(mapped: ConnectError | undefined, error?: unknown): void {
    this.#report(mapped === undefined ? "ok" : codeWord(mapped.code), error);
  }

  #report(word: string, error: unknown): void {
    const milliseconds = performance.now() - this.#began;
    this.#observer.ended(this.#method, word, milliseconds / 1000);
    const { caller } = this.context;
    const fields = { code: word, ms: Math.round(milliseconds * 10) / 10, ...(caller === "" ? {} : { caller }) };
    if (error === undefined) this.context.log[quiet(this.#method) ? "trace" : "info"](fields, "call");
    else if (serverFault.has(word)) this.context.log.error({ ...fields, err: error }, "call failed");
    else this.context.log.info({ ...fields, err: error }, "call refused");
  }
}

/** Failures that an operator should look at, whoever called. */
const serverFault = new Set(["internal", "unknown", "data_loss"]);

/** Probes come every few seconds for ever. */
function quiet(method: string): boolean {
  return method.startsWith("grpc.health.");
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
}
