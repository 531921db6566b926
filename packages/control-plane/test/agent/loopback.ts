import { serve } from "@zfsilo/agent";
import { AgentService } from "@zfsilo/api";
import type { Executor } from "@zfsilo/command";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { createLogger, parseHostId, StorageError, type HostId } from "@zfsilo/lib";
import { randomUUID } from "node:crypto";
import { AgentExecutor } from "../../src/machines/agent/agent-executor.ts";
import { AgentHub } from "../../src/machines/agent/agent-hub.ts";
import { agentService } from "../../src/rpc/agent-service.ts";
import { gateway } from "../../src/rpc/gateway.ts";
import { endWith } from "../../src/rpc/http-types.ts";
import { RpcServer } from "../../src/rpc/server.ts";
import { cable } from "./cuttable.ts";
import { callInterceptor } from "../../src/rpc/interceptors/call.ts";

const log = createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent");

/** A server that knows one agent, and no store. */
export interface Loopback extends AsyncDisposable {
  readonly host: HostId;
  readonly hub: AgentHub;
  readonly executor: AgentExecutor;
  readonly events: string[];
  /** Serves the host with this executor until the signal aborts, over a connection of its own. */
  serve(executor: Executor, signal: AbortSignal, identity?: { readonly instance?: string; readonly credential?: string; readonly host?: string }): Served;
}

export interface Served {
  readonly welcomed: Promise<void>;
  readonly ended: Promise<unknown>;
  /** Breaks the connection, as a cable that is pulled and a kernel that noticed. */
  breakConnection(): void;
  /** Both ends hear nothing any more. */
  freeze(): void;
}

export async function loopback(heartbeatMs = 10_000): Promise<Loopback> {
  const host = parseHostId("hst_looped");
  const events: string[] = [];
  const hub = new AgentHub({
    attached: (id) => events.push(`attached ${id}`),
    detached: (id) => events.push(`detached ${id}`),
    contested: (id) => events.push(`contested ${id}`),
  });
  const admission = {
    admit: (authorization: string | null) =>
      authorization === "Bearer right" ? Promise.resolve(host) : Promise.reject(new StorageError("unauthenticated", "not an agent of ours")),
    enrol: () => Promise.resolve(host),
    mismatched: (id: HostId, said: string) => events.push(`mismatched ${id} ${said}`),
    received: () => Promise.resolve(),
  };
  const server = new RpcServer({
    log,
    handler: (stopping, connections) =>
      gateway({
        log,
        connections,
        interceptors: [callInterceptor(log, { ended: () => undefined })],
        callerOf: () => undefined,
        otherwise: (_request, response) => {
          response.statusCode = 404;
          endWith(response, "");
        },
        refused: () => undefined,
        routes: (router) => {
          router.service(AgentService, agentService({ hub, admission, log, heartbeatMs, stopping }), { readMaxBytes: 4 << 20 });
        },
      }),
  });
  const { port } = await server.start({ host: "127.0.0.1", port: 0 });
  const line = await cable(() => port);
  const baseUrl = `http://127.0.0.1:${line.port}`;
  return {
    host,
    hub,
    executor: new AgentExecutor(host, hub),
    events,
    serve(executor, signal, identity = {}) {
      const sessionManager = new Http2SessionManager(baseUrl);
      const client = createClient(AgentService, createConnectTransport({ baseUrl, httpVersion: "2", sessionManager, acceptCompression: [] }));
      let onWelcome = (): void => undefined;
      const welcomed = new Promise<void>((resolve) => (onWelcome = resolve));
      const hello = { version: "0.1.0", host: identity.host ?? `hosts/${host}`, instance: identity.instance ?? randomUUID(), nodeName: "looped" };
      const rotation = { offer: () => Promise.reject(new Error("no rotation here")), accepted: () => Promise.resolve() };
      const ended = serve({ client, credential: identity.credential ?? "right", hello, executor, log, onWelcome, rotation }, signal).then(
        () => undefined,
        (error: unknown) => error,
      );
      void ended.then(() => {
        sessionManager.abort();
      });
      return { welcomed, ended, breakConnection: () => { sessionManager.abort(); }, freeze: () => { line.freeze(); } };
    },
    async [Symbol.asyncDispose]() {
      await line[Symbol.asyncDispose]();
      await server.stop(1_000);
    },
  };
}
