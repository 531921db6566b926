import { sendReadableMessages, StorageError, type Logger } from "@zfsilo/lib";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo, type Socket } from "node:net";
import tls from "node:tls";
import { Connections, defaultLimits, maxStreams, type ConnectionLimits, type PortLimit } from "./connections.ts";
import { endWith, pathOf, type HttpHandler, type HttpRequest, type HttpResponse } from "./http-types.ts";
import { formatListenAddress, type ListenAddress } from "./listen-address.ts";
import { sniffProtocol } from "./sniff.ts";
import type { TlsIdentity } from "./tls.ts";

export interface RpcServerOptions {
  readonly log: Logger;
  /** Answers requests. `stopping` aborts when the server begins to stop: streams without an end of their own must end then. */
  readonly handler: (stopping: AbortSignal, connections: Connections) => HttpHandler;
  readonly limits?: Partial<ConnectionLimits>;
  /** Told each time that a limit of the port is met. */
  readonly limited?: (limit: PortLimit) => void;
  /** Without it, everything is plain text. */
  readonly tls?: TlsIdentity | undefined;
  /** Default 10 s: how long a new connection may say nothing. */
  readonly silenceTimeoutMs?: number;
}

/** A peer that vanished without a word is noticed by TCP after this and a few probes more. */
const keepAliveProbeMs = 30_000;

/** How long the headers of a request, and all of it, may take over HTTP/1.1. Of HTTP/2 the gateway watches it. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;

/** How long the rest of a message is read after its call was answered. */
const lateBodyMs = 250;
/** The same over HTTP/1.1, where the one way to end an upload is to end the connection, which may cost the client the answer. */
const endlessBodyMs = 3_000;

/** All protocols on one port, in clear or over TLS: Connect, gRPC-Web and plain HTTP over HTTP/1.1, gRPC and Connect over HTTP/2. */
export class RpcServer {
  readonly #options: RpcServerOptions;
  readonly #stopping = new AbortController();
  readonly #connections: Connections;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #tcp: net.Server;
  #inFlight = 0;
  #idle: (() => void) | undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#connections = new Connections(options.log, { ...defaultLimits, ...options.limits }, options.limited ?? (() => undefined));
    const answer = options.handler(this.#stopping.signal, this.#connections);
    const handle = (request: HttpRequest, response: HttpResponse): void => {
      this.#count(response);
      this.#connections.count(request, response);
      readToTheEnd(request, response);
      sendReadableMessages(response);
      if (options.tls?.asksForClients === true && !mayCallWithoutCertificate(request)) refuseWithoutCertificate(response);
      else answer(request, response);
    };
    this.#http1 = http.createServer({ headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs, connectionsCheckingInterval: 5_000 }, handle);
    // This server never listens, so the event that starts Node's check of headersTimeout and requestTimeout is missing
    // (lib/_http_server.js, setupConnectionsTracking, Node 20).
    this.#http1.emit("listening");
    this.#http2 = http2.createServer({ settings: { maxConcurrentStreams: maxStreams } }, handle);
    this.#http2.on("session", (session) => {
      this.#track(session);
    });
    this.#http2.on("sessionError", (error) => {
      options.log.debug({ err: error }, "HTTP/2 session failed");
    });
    this.#tcp = options.tls === undefined ? net.createServer() : this.#secureServer(options.tls);
    this.#tcp.on("connection", (socket: Socket) => {
      this.#accept(socket);
    });
  }

  /** Where it listens; the port is the real one when 0 was asked for. */
  async start(listen: ListenAddress): Promise<ListenAddress> {
    this.#tcp.listen(listen.port, listen.host);
    try {
      await once(this.#tcp, "listening");
    } catch (error) {
      this.#closeHttp();
      throw listenFailed(listen, error);
    }
    this.#tcp.on("error", (error) => {
      this.#options.log.error({ err: error }, "the listening socket failed");
    });
    const { address, port } = this.#tcp.address() as AddressInfo;
    return { host: address, port };
  }

  /** Takes no more calls, lets those that run end, and after `deadlineMs` cuts off what is left. */
  async stop(deadlineMs: number): Promise<void> {
    const closed = once(this.#tcp, "close");
    this.#tcp.close();
    this.#stopping.abort();
    this.#connections.close();
    await this.#drained(deadlineMs);
    this.#connections.destroy();
    this.#closeHttp();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#connections.accept(socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveProbeMs);
    // Over TLS it is the handshake that tells the protocol.
    if (this.#options.tls !== undefined) return;
    sniffProtocol(socket, this.#silenceTimeoutMs, (protocol) => {
      if (protocol === "http2") {
        // Takes what was put back by itself, and reads the socket's handle from then on.
        this.#http2.emit("connection", socket);
        return;
      }
      this.#http1.emit("connection", socket);
      socket.resume();
    });
  }

  /** A caller without a certificate gets an answer and not a broken handshake: probes need none (RpcServerOptions.tls). */
  #secureServer(identity: TlsIdentity): tls.Server {
    const server = tls.createServer({
      ...identity.options,
      ALPNProtocols: ["h2", "http/1.1"],
      requestCert: identity.asksForClients,
      rejectUnauthorized: false,
      handshakeTimeout: this.#silenceTimeoutMs,
    });
    identity.onChange((changed) => {
      server.setSecureContext(changed);
    });
    server.on("secureConnection", (socket) => {
      if (socket.alpnProtocol === "h2") this.#http2.emit("connection", socket);
      else this.#http1.emit("connection", socket);
    });
    server.on("tlsClientError", (error, socket) => {
      this.#options.log.debug({ err: error }, "TLS handshake failed");
      socket.destroy();
    });
    return server;
  }

  #track(session: http2.ServerHttp2Session): void {
    this.#connections.began(session);
    const silent = setTimeout(() => {
      session.destroy();
    }, this.#silenceTimeoutMs);
    session.once("remoteSettings", () => {
      clearTimeout(silent);
    });
    session.once("close", () => {
      clearTimeout(silent);
    });
  }

  get #silenceTimeoutMs(): number {
    return this.#options.silenceTimeoutMs ?? 10_000;
  }

  #count(response: HttpResponse): void {
    this.#inFlight += 1;
    if (this.#stopping.signal.aborted && response instanceof http.ServerResponse) response.setHeader("connection", "close");
    response.once("close", () => {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#idle?.();
    });
  }

  async #drained(deadlineMs: number): Promise<void> {
    if (this.#inFlight === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      timer = setTimeout(() => {
        this.#options.log.warn({ calls: this.#inFlight }, "calls are cut off: they did not end in time");
        resolve();
      }, deadlineMs);
    });
    clearTimeout(timer);
  }

  #closeHttp(): void {
    // Ends the timer that "listening" began; both throw or ignore that they never listened.
    this.#http1.close(() => undefined);
  }
}

/** What kubelet and Prometheus ask, who have no certificate of ours; it tells nothing of volumes. */
const withoutCertificate = new Set(["/healthz", "/readyz"]);

function mayCallWithoutCertificate(request: HttpRequest): boolean {
  const socket = "stream" in request ? request.stream.session?.socket : request.socket;
  // An HTTP/2 session gives its socket out behind a proxy, of which neither `in` nor `instanceof` tell anything.
  if ((socket as Partial<tls.TLSSocket> | undefined)?.authorized === true) return true;
  return withoutCertificate.has(pathOf(request));
}

/** 401 is UNAUTHENTICATED to every protocol. */
function refuseWithoutCertificate(response: HttpResponse): void {
  const text = "this server asks for a client certificate, signed by an authority that it trusts\n";
  response.statusCode = 401;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  endWith(response, text);
}

/**
 * A refusal that is answered before the message was read (above the limit, wrong length) leaves its rest unread. A client
 * that sends first and then looks for the answer would wait for ever, so the rest is read and thrown away: giving up the
 * iteration must not destroy the request, as it does by default.
 */
function readToTheEnd(request: HttpRequest, response: HttpResponse): void {
  Object.defineProperty(request, Symbol.asyncIterator, { value: () => request.iterator({ destroyOnReturn: false }) });
  if ("stream" in request) {
    // Some clients give up their upload without a word when they have the answer, which would keep the stream for ever.
    // A reset with NO_ERROR after a complete answer asks them to stop (RFC 9113, 8.1).
    const { stream } = request;
    stream.once("finish", () => {
      if (stream.readableEnded) return;
      request.resume();
      const reset = setTimeout(() => {
        stream.close(http2.constants.NGHTTP2_NO_ERROR);
      }, lateBodyMs);
      stream.once("close", () => {
        clearTimeout(reset);
      });
    });
    return;
  }
  response.once("finish", () => {
    if (request.complete) return;
    request.resume();
    const cut = setTimeout(() => request.socket.destroy(), endlessBodyMs);
    request.once("close", () => {
      clearTimeout(cut);
    });
  });
}

function listenFailed(listen: ListenAddress, error: unknown): StorageError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: "Another process listens there: stop it, or choose another address with ZFSILO_LISTEN.",
    EADDRNOTAVAIL: "This machine does not have that address: choose another with ZFSILO_LISTEN.",
    EACCES: "Ports below 1024 need a privilege: choose another with ZFSILO_LISTEN.",
  };
  const hint = typeof code === "string" ? hints[code] : undefined;
  return new StorageError("unavailable", `listen on ${formatListenAddress(listen)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
