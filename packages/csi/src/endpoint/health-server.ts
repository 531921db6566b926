import { StorageError } from "@zfsilo/lib";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { isAnswered } from "./unix-server.ts";

/** ADDRESS:PORT, or :PORT for every address. */
export const healthAddressPattern = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9a-zA-Z.-]*)):(\d{1,5})$/;

/**
 * GET /healthz for kubelet's liveness probe: the process runs and its socket is answered. It does not ask the control plane,
 * as Probe does: the liveness-probe sidecar (seen in 2.14) answers 500 for a driver that says it is not ready, and a driver
 * that is restarted for that comes back no wiser, later and later.
 */
export class HealthServer {
  readonly #server: http.Server;

  constructor(socket: string) {
    this.#server = http.createServer((request, response) => {
      if (request.method !== "GET" || request.url !== "/healthz") {
        response.writeHead(404).end();
        return;
      }
      void isAnswered(socket).then((answered) => {
        response.writeHead(answered ? 200 : 500).end(answered ? "ok\n" : "nobody answers on the driver's socket\n");
      });
    });
  }

  /** Resolves with the port. */
  async start(address: string): Promise<number> {
    const [, bracketed, plain, port] = healthAddressPattern.exec(address) ?? [];
    const host = bracketed ?? plain;
    const listening = once(this.#server, "listening");
    this.#server.listen(Number(port), host === undefined || host === "" ? undefined : host);
    try {
      await listening;
    } catch (error) {
      throw new StorageError("unavailable", `listen on ${address}`, { cause: error, hint: "Choose another --health-address." });
    }
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
