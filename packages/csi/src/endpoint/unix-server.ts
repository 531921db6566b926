import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { sendReadableMessages, StorageError, type Logger } from "@zfsilo/lib";
import { once } from "node:events";
import { chmod, lstat, unlink } from "node:fs/promises";
import http2 from "node:http2";
import net from "node:net";

export interface UnixServerOptions {
  readonly log: Logger;
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: readonly Interceptor[];
}

const maxMessageBytes = 4 * 1024 * 1024;

/** gRPC on a unix socket, as kubelet and the sidecars call it. */
export class UnixServer {
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #server: http2.Http2Server;
  #inFlight = 0;
  #idle: (() => void) | undefined;

  constructor(options: UnixServerOptions) {
    const handle = connectNodeAdapter({
      routes: options.routes,
      interceptors: [...options.interceptors],
      readMaxBytes: maxMessageBytes,
    });
    this.#server = http2.createServer((request, response) => {
      this.#inFlight += 1;
      response.once("close", () => {
        this.#inFlight -= 1;
        if (this.#inFlight === 0) this.#idle?.();
      });
      // Clients put anything here, such as the socket's path with %2F; connect-node makes a URL of it, which can throw.
      request.headers[":authority"] = "localhost";
      sendReadableMessages(response);
      handle(request, response);
    });
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
    });
    this.#server.on("sessionError", (error) => {
      options.log.debug({ err: error }, "HTTP/2 session failed");
    });
  }

  /** A socket that nobody answers on is left over from a process that was killed, and taken away. */
  async start(path: string): Promise<void> {
    await removeStaleSocket(path);
    const listening = once(this.#server, "listening");
    this.#server.listen(path);
    try {
      await listening;
    } catch (error) {
      throw new StorageError("unavailable", `listen on ${path}`, {
        cause: error,
        hint: "The directory must exist and be writable.",
      });
    }
    // Whoever may connect may attach and format disks.
    await chmod(path, 0o600);
  }

  /** Takes no more calls, lets those that run end, and after `deadlineMs` cuts off what is left. The socket's file goes. */
  async stop(deadlineMs: number): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    // Sidecars never hang up: each session is told to finish what it has.
    for (const session of this.#sessions) session.close();
    await this.#drained(deadlineMs);
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  async #drained(deadlineMs: number): Promise<void> {
    if (this.#inFlight === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      timer = setTimeout(resolve, deadlineMs);
    });
    clearTimeout(timer);
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new StorageError("precondition", `listen on ${path}: something else is there`, { hint: "Move it away, or choose another path." });
  }
  if (await isAnswered(path)) {
    throw new StorageError("unavailable", `listen on ${path}: another process does`, { hint: "Stop it first." });
  }
  await unlink(path);
}

/** Whether a process accepts connections there. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => {
      resolve(false);
    });
  });
}
