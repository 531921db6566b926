import type { Logger } from "@zfsilo/lib";
import type { ServerHttp2Session } from "node:http2";
import http2 from "node:http2";
import type { Socket } from "node:net";
import { Bucket } from "./bucket.ts";
import type { HttpRequest, HttpResponse } from "./http-types.ts";

export interface ConnectionLimits {
  /** Connections in all, but for a few more of strangers. */
  readonly connections: number;
  /** How long a connection without a call may last that showed no right token. */
  readonly strangerIdleMs: number;
  /** The same for one that did. */
  readonly idleMs: number;
  readonly sweepMs: number;
}

export const defaultLimits: ConnectionLimits = { connections: 4_096, strangerIdleMs: 30_000, idleMs: 15 * 60_000, sweepMs: 5_000 };

export const maxStreams = 200;
/** Kept for strangers when all other places are taken by callers: probes are strangers. */
const strangerReserve = 16;
/** Requests without a right token, on one connection. */
const strangerBurst = 100;
const strangerPerSecond = 20;
/** Calls that the peer cancels, on one connection: each costs more to begin than to cancel. */
const resetBurst = 2 * maxStreams;
const resetsPerSecond = 50;
const quietMs = 60_000;

/** Which limit of the port was met, for the metric. */
export type PortLimit = "connections" | "requests" | "resets" | "logins" | "idle";

interface Connection {
  readonly key: string;
  readonly socket: Socket;
  readonly requests: Bucket;
  readonly resets: Bucket;
  session: ServerHttp2Session | undefined;
  known: boolean;
  open: number;
  lastUsed: number;
}

/** What tells a connection: over TLS a request has another socket than the one that was accepted. */
interface Peer {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/**
 * The connections of the port. At the limit the oldest one of a stranger gives way to the new one, so that whoever fills the port with
 * connections loses them to callers and probes, and not the other way round.
 */
export class Connections {
  readonly #log: Logger;
  readonly #limits: ConnectionLimits;
  readonly #limited: (limit: PortLimit) => void;
  readonly #all = new Map<string, Connection>();
  /** In the order they came. */
  readonly #strangers = new Map<string, Connection>();
  readonly #timer: NodeJS.Timeout;
  #told = -Infinity;

  constructor(log: Logger, limits: ConnectionLimits, limited: (limit: PortLimit) => void) {
    this.#log = log;
    this.#limits = limits;
    this.#limited = limited;
    this.#timer = setInterval(() => { this.#sweep(); }, limits.sweepMs);
    this.#timer.unref();
  }

  accept(socket: Socket): void {
    const key = keyOf(socket);
    const connection: Connection = {
      key,
      socket,
      requests: new Bucket(strangerBurst, strangerPerSecond),
      resets: new Bucket(resetBurst, resetsPerSecond),
      session: undefined,
      known: false,
      open: 0,
      lastUsed: performance.now(),
    };
    this.#all.set(key, connection);
    this.#strangers.set(key, connection);
    socket.once("close", () => {
      if (this.#all.get(key) !== connection) return;
      this.#all.delete(key);
      this.#strangers.delete(key);
    });
    const known = this.#all.size - this.#strangers.size;
    const room = Math.max(strangerReserve, this.#limits.connections - known);
    const [oldest] = this.#strangers.values();
    if (this.#strangers.size <= room || oldest === undefined) return;
    oldest.socket.destroy();
    this.#strangers.delete(oldest.key);
    this.#met("connections", { connections: this.#all.size, known });
  }

  /** An HTTP/2 session on a connection that was accepted. */
  began(session: ServerHttp2Session): void {
    const connection = this.#of(session.socket);
    if (connection === undefined) return;
    connection.session = session;
    session.on("stream", (stream) => {
      stream.once("close", () => {
        // By the peer, before or after its answer was out: beginning it cost the same.
        if (stream.rstCode === http2.constants.NGHTTP2_CANCEL && !connection.resets.take()) this.#calm(connection, "resets");
      });
    });
  }

  count(request: HttpRequest, response: HttpResponse): void {
    const connection = this.#of(socketOf(request));
    if (connection === undefined) return;
    connection.open += 1;
    response.once("close", () => {
      connection.open -= 1;
      connection.lastUsed = performance.now();
    });
  }

  /** The request came with a right token: its connection keeps its place. */
  knows(request: HttpRequest): void {
    const connection = this.#of(socketOf(request));
    if (connection === undefined || connection.known || this.#all.size - this.#strangers.size >= this.#limits.connections) return;
    connection.known = true;
    this.#strangers.delete(connection.key);
  }

  /** A request without a token; false: it was one too many, and its connection has ended. */
  admits(request: HttpRequest): boolean {
    const connection = this.#of(socketOf(request));
    if (connection === undefined || connection.requests.take()) return true;
    this.#calm(connection, "requests");
    return false;
  }

  end(request: HttpRequest, limit: PortLimit): void {
    const connection = this.#of(socketOf(request));
    if (connection !== undefined) this.#calm(connection, limit);
  }

  addressOf(request: HttpRequest): string {
    return socketOf(request)?.remoteAddress ?? "";
  }

  /** No session takes a call any more. */
  close(): void {
    clearInterval(this.#timer);
    for (const { session } of this.#all.values()) session?.close();
  }

  destroy(): void {
    for (const { session, socket } of this.#all.values()) {
      session?.destroy();
      socket.destroy();
    }
  }

  #calm(connection: Connection, limit: PortLimit): void {
    if (connection.socket.destroyed) return;
    connection.session?.destroy(undefined, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    connection.socket.destroy();
    this.#met(limit, { peer: connection.socket.remoteAddress });
  }

  #sweep(): void {
    const now = performance.now();
    for (const connection of this.#all.values()) {
      const { open, lastUsed, known, session, socket } = connection;
      if (open > 0 || now - lastUsed < (known ? this.#limits.idleMs : this.#limits.strangerIdleMs)) continue;
      // Told so, a client opens another connection for its next call; one that stays gets no second word.
      if (known && session !== undefined && !session.closed) session.close();
      else socket.destroy();
      this.#limited("idle");
    }
  }

  #met(limit: PortLimit, facts: object): void {
    this.#limited(limit);
    if (performance.now() - this.#told < quietMs) return;
    this.#told = performance.now();
    this.#log.warn({ limit, ...facts }, "a limit of the port is met; more of this within the next minute is only counted");
  }

  #of(peer: Peer | undefined): Connection | undefined {
    return peer && this.#all.get(keyOf(peer));
  }
}

function socketOf(request: HttpRequest): Peer | undefined {
  return "stream" in request ? request.stream.session?.socket : request.socket;
}

function keyOf({ remoteAddress, remotePort }: Peer): string {
  return `${remoteAddress ?? ""} ${remotePort ?? ""}`;
}
