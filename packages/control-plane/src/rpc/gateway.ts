import { Code, ConnectError, createConnectRouter, createContextValues, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip, universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { AgentService, health, reflectionV1, reflectionV1alpha } from "@zfsilo/api";
import { StorageError, type Logger } from "@zfsilo/lib";
import { arrivalKey, requestIdFrom, requestIdHeader, type Arrival } from "./arrival.ts";
import { callContext } from "./call-context.ts";
import type { Connections } from "./connections.ts";
import { codeWord, toConnectError } from "./error-map.ts";
import { pathOf, type HttpHandler, type HttpRequest, type HttpResponse } from "./http-types.ts";
import { boundedJson } from "./json-bounds.ts";
import { LoginThrottle } from "./login-throttle.ts";
import { errorIn, errorOfStatus, protocolOf, refusal } from "./refusal.ts";
import { UnreadCalls } from "./unread-calls.ts";

/**
 * Of one message, as sent and inflated. The largest that the API has use for, a volume with all its labels, is some 100 KiB;
 * a binary message of this size holds 130,000 elements at most, which took 155 ms to parse on a busy machine.
 */
export const maxMessageBytes = 256 * 1024;
/** Of a message to the services that strangers may call. */
export const maxStrangerMessageBytes = 16 * 1024;

/**
 * The first three tell nothing that is not in the public API description, and are what load balancers and grpcurl ask
 * first. Agents show join tokens and credentials of their own (agent-service.ts), which open nothing else.
 */
const open: ReadonlySet<string> = new Set([
  health.Health.typeName,
  reflectionV1.ServerReflection.typeName,
  reflectionV1alpha.ServerReflection.typeName,
  AgentService.typeName,
]);

export interface GatewayOptions {
  readonly log: Logger;
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: readonly Interceptor[];
  /** Whose token an Authorization header holds; undefined for nobody's. */
  readonly callerOf: (authorization: string | null) => string | undefined;
  readonly connections: Connections;
  /** Requests that are no RPC of ours. */
  readonly otherwise: HttpHandler;
  /** Told of each call that ended before the interceptors saw it. `method` is SERVICE/METHOD, `code` a word of the API or `unread`. */
  readonly refused: (method: string, code: string, seconds: number) => void;
  /** Default 30 s: how long a message may take to arrive. */
  readonly messageTimeoutMs?: number | undefined;
}

const defaultMessageTimeoutMs = 30_000;

/**
 * From an HTTP request to the service: who calls is told from the headers, before a byte of the body is read, inflated or
 * parsed. What connect-node refuses by itself gets the same details as any other error of ours.
 */
export function gateway(options: GatewayOptions): HttpHandler {
  const jsonOptions = {
    // A misspelled field is refused by its name: left out, it would mean its default.
    ignoreUnknownFields: false,
    textDecoder: boundedJson,
  };
  const router = createConnectRouter({
    interceptors: [...options.interceptors],
    readMaxBytes: maxMessageBytes,
    acceptCompression: [compressionGzip, compressionBrotli],
    jsonOptions,
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const shared: Shared = { ...options, throttle: new LoginThrottle(), unread: new UnreadCalls(options.messageTimeoutMs ?? defaultMessageTimeoutMs) };
  return (request, response) => {
    const handler = handlers.get(pathOf(request));
    if (handler !== undefined) void new Call(shared, handler, request, response).run();
    else if (!options.connections.admits(request)) return;
    else if (isCall(request)) void send(refusal(unknownMethod(request), protocolOf(contentType(request)), contentType(request), 404), response, options.log);
    else options.otherwise(request, response);
  };
}

interface Shared extends GatewayOptions {
  readonly throttle: LoginThrottle;
  readonly unread: UnreadCalls;
}

class Call {
  readonly #options: Shared;
  readonly #handler: UniversalHandler;
  readonly #request: HttpRequest;
  readonly #response: HttpResponse;
  readonly #began = performance.now();
  readonly #requestId: string;

  constructor(options: Shared, handler: UniversalHandler, request: HttpRequest, response: HttpResponse) {
    this.#options = options;
    this.#handler = handler;
    this.#request = request;
    this.#response = response;
    this.#requestId = requestIdFrom(one(request.headers[requestIdHeader]));
  }

  async run(): Promise<void> {
    const { callerOf, connections, unread } = this.#options;
    const isOpen = open.has(this.#handler.service.typeName);
    const caller = isOpen ? "" : callerOf(this.#request.headers.authorization ?? null);
    if (caller !== undefined && !isOpen) connections.knows(this.#request);
    else if (!connections.admits(this.#request)) return;
    if (caller === undefined) {
      await this.#loginFailed();
      await this.#refuse(unauthenticated());
      return;
    }
    const login = { succeeded: () => { connections.knows(this.#request); }, failed: () => this.#loginFailed() };
    // The stream of an agent stays open, and has its heartbeat.
    if (this.#handler.method !== AgentService.method.serve) unread.add(this.#request);
    try {
      await this.#answer({ requestId: this.#requestId, caller, login });
    } catch (error) {
      await this.#failed(error);
    } finally {
      unread.delete(this.#request);
    }
  }

  async #loginFailed(): Promise<void> {
    const { connections, throttle } = this.#options;
    if (!(await throttle.failed(connections.addressOf(this.#request)))) connections.end(this.#request, "logins");
  }

  async #answer(arrival: Arrival): Promise<void> {
    const contextValues = createContextValues().set(arrivalKey, arrival);
    const request = universalRequestFromNodeRequest(withPlainAuthority(this.#request), this.#response, undefined, contextValues);
    const answer = await this.#handler(request);
    if (contextValues.get(callContext) !== undefined) {
      await universalResponseToNodeResponse(answer, this.#response);
      return;
    }
    const protocol = protocolOf(contentType(this.#request));
    const error = request.signal.aborted ? undefined : await errorIn(answer, protocol);
    if (error === undefined) this.#ended("unread", undefined);
    else await this.#refuse(error, answer.status === 200 ? undefined : answer);
  }

  /** `answer` has the status and headers of a refusal by HTTP, as a caller may need to see them. */
  async #refuse(error: unknown, answer?: UniversalServerResponse): Promise<void> {
    const mapped = toConnectError(error, this.#requestId);
    mapped.metadata.set(requestIdHeader, this.#requestId);
    this.#ended(codeWord(mapped.code), error);
    const type = contentType(this.#request);
    const byHttp = answer?.body === undefined ? answer?.status : undefined;
    for (const [name, value] of answer?.header ?? []) if (!/^content-/.test(name)) mapped.metadata.set(name, value);
    await send(refusal(mapped, protocolOf(type), type, byHttp), this.#response, this.#options.log);
  }

  async #failed(error: unknown): Promise<void> {
    // The caller hung up, which the interceptors have seen if it was for them.
    if (this.#response.headersSent || this.#response.destroyed || ConnectError.from(error).code === Code.Aborted) return;
    this.#options.log.error({ err: error, rpc: this.#method, requestId: this.#requestId }, "call could not be handled");
    await this.#refuse(error);
  }

  #ended(code: string, error: unknown): void {
    const seconds = (performance.now() - this.#began) / 1000;
    this.#options.refused(this.#method, code, seconds);
    const fields = { rpc: this.#method, requestId: this.#requestId, code, ms: Math.round(seconds * 1000), ...(error === undefined ? {} : { err: error }) };
    this.#options.log.info(fields, error === undefined ? "call ended before its message was read" : "call refused");
  }

  get #method(): string {
    return this.#handler.requestPath.slice(1);
  }
}

/** Never says whether the token was missing, malformed or unknown. */
function unauthenticated(): StorageError {
  return new StorageError("unauthenticated", "this call needs a valid token", {
    hint: "Send the header `authorization: Bearer TOKEN`; the token of a new installation is in admin.token of its data directory.",
  });
}

/** Whether a request that names no method of ours was meant as a call, and not as a page. */
function isCall(request: HttpRequest): boolean {
  return request.method === "POST" && /^application\/(?:grpc|connect\+|json\b|proto\b)/i.test(contentType(request)) && /^\/[\w.]+\/\w+$/.test(pathOf(request));
}

function unknownMethod(request: HttpRequest): ConnectError {
  const error = errorOfStatus(404);
  error.metadata.set(requestIdHeader, requestIdFrom(one(request.headers[requestIdHeader])));
  return error;
}

async function send(answer: UniversalServerResponse, response: HttpResponse, log: Logger): Promise<void> {
  try {
    await universalResponseToNodeResponse(answer, response);
  } catch (error) {
    log.debug({ err: error }, "a refusal could not be sent");
  }
}

function contentType(request: HttpRequest): string {
  return request.headers["content-type"] ?? "";
}

function one(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}

/**
 * connect-node builds a URL of whatever the client calls this server, outside of any handler: a name that is no host
 * (`%2Frun%2Fsock`) would end the process. Nothing here depends on it.
 */
function withPlainAuthority<R extends HttpRequest>(request: R): R {
  request.headers.host = "localhost";
  if ("stream" in request) request.headers[":authority"] = "localhost";
  return request;
}
