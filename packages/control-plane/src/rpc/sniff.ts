import type { Socket } from "node:net";

export type Protocol = "http1" | "http2";

/** How an HTTP/2 connection begins (RFC 9113, 3.4). No method of HTTP/1 begins so: three bytes decide. */
const preface = Buffer.from("PRI");

/**
 * Calls `found` when the first bytes of a connection tell its protocol, with those bytes put back. A connection that says
 * nothing in time is ended: it would cost a descriptor for ever.
 */
export function sniffProtocol(socket: Socket, timeoutMs: number, found: (protocol: Protocol) => void): void {
  let seen = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const done = (): void => {
    clearTimeout(timer);
    socket.off("data", look);
    socket.off("error", ignore);
    socket.off("close", done);
  };
  const look = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, preface.length);
    const maybeHttp2 = seen.subarray(0, length).equals(preface.subarray(0, length));
    if (maybeHttp2 && length < preface.length) return;
    done();
    socket.pause();
    socket.unshift(seen);
    found(maybeHttp2 ? "http2" : "http1");
  };
  // A peer that resets before it said anything is nobody's concern; without a listener it would end the process.
  const ignore = (): void => undefined;
  socket.on("data", look);
  socket.on("error", ignore);
  socket.on("close", done);
}
