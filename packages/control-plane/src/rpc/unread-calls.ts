import http2 from "node:http2";
import type { HttpRequest } from "./http-types.ts";

/** Calls in progress, of which those whose message does not arrive in time are ended: half-open streams cost memory for ever. */
export class UnreadCalls {
  readonly #began = new Map<HttpRequest, number>();
  readonly #limitMs: number;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    // One timer for all: calls come by the thousand, and hardly ever one is late.
    setInterval(() => { this.#sweep(); }, Math.max(100, limitMs / 6)).unref();
  }

  add(request: HttpRequest): void {
    this.#began.set(request, performance.now());
  }

  delete(request: HttpRequest): void {
    this.#began.delete(request);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [request, began] of this.#began) {
      // In the order they began.
      if (now - began < this.#limitMs) return;
      this.#began.delete(request);
      if (request.complete) continue;
      if ("stream" in request) request.stream.close(http2.constants.NGHTTP2_CANCEL);
      else request.socket.destroy();
    }
  }
}
