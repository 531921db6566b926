import type { DescMessage } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import { createClient, Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema, GetHostRequestSchema, health, HostService, type GetHostResponseSchema, OperationService, Service } from "@zfsilo/api";
import { execFile } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseOperationId } from "@zfsilo/lib";
import { hostRecord, journalEntry } from "../../src/store/store-fixtures.ts";
import { callJson, runningApi, type RunningApi } from "./running-api.ts";

let api: RunningApi;
beforeEach(async () => {
  api = await runningApi();
});
afterEach(() => api[Symbol.asyncDispose]());

const withToken = (token: string): Interceptor => (next) => (request) => {
  if (token !== "") request.header.set("authorization", `Bearer ${token}`);
  return next(request);
};

const transports: readonly [string, (token: string) => Transport][] = [
  ["Connect, HTTP/1.1", (token) => createConnectTransport({ baseUrl: api.url, httpVersion: "1.1", interceptors: [withToken(token)] })],
  ["Connect, HTTP/2", (token) => createConnectTransport({ baseUrl: api.url, httpVersion: "2", interceptors: [withToken(token)] })],
  ["gRPC", (token) => createGrpcTransport({ baseUrl: api.url, interceptors: [withToken(token)] })],
  ["gRPC-Web, HTTP/1.1", (token) => createGrpcWebTransport({ baseUrl: api.url, httpVersion: "1.1", interceptors: [withToken(token)] })],
  ["gRPC-Web, HTTP/2", (token) => createGrpcWebTransport({ baseUrl: api.url, httpVersion: "2", interceptors: [withToken(token)] })],
];

/** A client's view of GetHost that is not ours. */
const getHostAs = <I extends DescMessage>(name: string, input: I) => {
  const method = { ...HostService.method.getHost, name, localName: "getHost", input };
  return { ...HostService, methods: [method], method: { getHost: method } } as unknown as GenService<{
    getHost: { methodKind: "unary"; input: I; output: typeof GetHostResponseSchema };
  }>;
};
const unknownService = getHostAs("Nothing", GetHostRequestSchema);
/** Bytes that are no UTF-8, where the server has a string. */
const misreadService = getHostAs("GetHost", BytesValueSchema);

describe.each(transports)("%s", (_name, transport) => {
  it("answers on the one port", async () => {
    const info = await createClient(Service, transport(api.token)).getServerInfo({});
    expect(info).toMatchObject({ version: "0.1.0", clusterId: "test", features: ["iscsi"] });
  });

  it.each(["", "wrong", "Bearer"])("refuses the token %j without saying which", async (token) => {
    const error = await createClient(Service, transport(token)).getServerInfo({}).catch((failure: unknown) => ConnectError.from(failure));
    expect(error).toMatchObject({ code: Code.Unauthenticated, rawMessage: "this call needs a valid token" });
  });

  it("carries code, details, hint and request id of a refusal", async () => {
    const error = ConnectError.from(await createClient(HostService, transport(api.token)).getHost({ name: "hosts/hst_none" }).catch((e: unknown) => e));
    expect(error.code).toBe(Code.NotFound);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "NOT_FOUND", domain: "zfsilo", metadata: { host: "hosts/hst_none" } }]);
    expect(error.metadata.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("refuses a message above 256 KiB", async () => {
    const client = createClient(HostService, transport(api.token));
    const error = await client.getHost({ name: "x".repeat(300 * 1024) }).catch((failure: unknown) => ConnectError.from(failure));
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    // And goes on serving.
    await createClient(Service, transport(api.token)).getServerInfo({});
  });

  it("gives details and a request id also where no message was read", async () => {
    const failures = [
      [() => createClient(HostService, transport("wrong")).getHost({}), "UNAUTHENTICATED"],
      [() => createClient(HostService, transport(api.token)).getHost({ name: "x".repeat(300 * 1024) }), "MESSAGE_TOO_LARGE"],
      [() => createClient(unknownService, transport(api.token)).getHost({}), "UNKNOWN_METHOD"],
      [() => createClient(misreadService, transport(api.token)).getHost({ value: Uint8Array.of(0xff) }), "INVALID_ARGUMENT"],
    ] as const;
    for (const [call, reason] of failures) {
      const error = ConnectError.from(await call().catch((failure: unknown) => failure));
      expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason, domain: "zfsilo" }]);
      expect(error.metadata.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it("streams an operation until it ends", async () => {
    const entry = journalEntry("op_a");
    await api.stores.operations.open(entry);
    const seen: number[] = [];
    for await (const { operation } of createClient(OperationService, transport(api.token)).watchOperation({ name: "operations/op_a" })) {
      seen.push(operation!.state);
      if (seen.length === 1) await api.stores.operations.save({ ...entry, state: "undoing" });
      else await api.stores.operations.save({ ...entry, state: "failed", endedAt: new Date() });
      for (const notify of api.watchers) notify();
    }
    expect(seen).toEqual([1, 2, 4]);
    expect(api.watchers.size).toBe(0);
  });
});

describe("a call whose message cannot be read", () => {
  const counted = async (method: string): Promise<string[]> => {
    const text = await (await fetch(`${api.url}/metrics`)).text();
    return text.split("\n").filter((line) => line.startsWith(`zfsilo_rpc_duration_seconds_count{method="zfsilo.v1.${method}"`));
  };
  const post = (body: string, type: string): Promise<Response> =>
    fetch(`${api.url}/zfsilo.v1.HostService/GetHost`, { method: "POST", body, headers: { "content-type": type, authorization: `Bearer ${api.token}` } });

  it.each([
    ["no JSON", '{"name": ', "application/json", 400, "invalid_argument"],
    ["a field that is not there", '{"nmae": "hosts/hst_a"}', "application/json", 400, "invalid_argument"],
    ["a type that is not spoken", "name", "text/plain", 415, "invalid_argument"],
    ["no message", "\x0a", "application/proto", 400, "invalid_argument"],
    ["a message above 256 KiB", JSON.stringify({ name: "x".repeat(300 * 1024) }), "application/json", 429, "resource_exhausted"],
    ["JSON too deep", `{"name":${"[".repeat(65)}`, "application/json", 429, "resource_exhausted"],
  ])("is refused with its code, details and request id, and counted: %s", async (_what, body, type, status, code) => {
    const response = await post(body, type);
    const answer = (await response.json()) as { code: string; message: string; details: { type: string; debug: object }[] };
    expect(response.status).toBe(status);
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.code).toBe(code);
    expect(answer.details).toMatchObject([{ type: "google.rpc.ErrorInfo", debug: { domain: "zfsilo", reason: expect.stringMatching(/^[A-Z_]+$/) as string } }]);
    if (body.includes("nmae")) expect(answer.message).toContain("nmae");
    await expect.poll(() => counted("HostService/GetHost")).toEqual([`zfsilo_rpc_duration_seconds_count{method="zfsilo.v1.HostService/GetHost",code="${code}"} 1`]);
  });

  it("does not count what is no call of ours", async () => {
    await (await fetch(`${api.url}/zfsilo.v1.HostService/Nothing`, { method: "POST" })).text();
    await callJson(api, "Service/GetServerInfo", {});
    expect(await counted("HostService/Nothing")).toEqual([]);
    expect(await counted("Service/GetServerInfo")).toEqual(['zfsilo_rpc_duration_seconds_count{method="zfsilo.v1.Service/GetServerInfo",code="ok"} 1']);
  });
});

describe("plain HTTP on the same port", () => {
  it("answers probes and metrics without a token", async () => {
    await callJson(api, "Service/GetServerInfo", {});
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
    api.readiness.set(false);
    expect((await fetch(`${api.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    const metrics = await (await fetch(`${api.url}/metrics`)).text();
    expect(metrics).toMatch(/zfsilo_rpc_duration_seconds_count\{method="zfsilo.v1.Service\/GetServerInfo",code="ok"\} 1/);
    expect(metrics).toContain('zfsilo_pool_free_bytes{host="hst_give",pool="tank"} 32');
    expect(metrics).toContain('zfsilo_volumes{status="mounted"} 0');
    expect((await fetch(`${api.url}/nothing`)).status).toBe(404);
    expect((await fetch(`${api.url}/metrics`, { method: "POST" })).status).toBe(405);
  });

  it("takes what curl sends", async () => {
    const { stdout } = await promisify(execFile)("curl", [
      "-sS", "-i", "-H", "content-type: application/json", "-H", `authorization: Bearer ${api.token}`, "-H", "x-request-id: my-call-1",
      "-d", '{"name":"hosts/Not an id"}', `${api.url}/zfsilo.v1.HostService/GetHost`,
    ]);
    expect(stdout).toContain("400 Bad Request");
    expect(stdout).toMatch(/x-request-id: my-call-1/i);
    expect(stdout).toContain('"code":"invalid_argument"');
  });
});

describe("logs", () => {
  it("have one line a call, with the chain once and no token", async () => {
    api.ports.probe = { check: () => Promise.reject(new Error("the password is hunter2")) };
    await api.stores.hosts.insert(hostRecord("hst_a"));
    const { status, body, headers } = await callJson(api, "HostService/CheckHost", { name: "hosts/hst_a" });
    expect(status).toBe(500);
    const requestId = headers.get("x-request-id");
    expect(body["message"]).toBe(`internal error; see the server log, request id ${requestId}`);
    expect(JSON.stringify(body)).not.toContain("hunter2");
    const lines = api.lines.filter((line) => line["requestId"] === requestId);
    expect(lines).toMatchObject([{ level: 50, rpc: "zfsilo.v1.HostService/CheckHost", code: "internal", caller: "admin" }]);
    expect(JSON.stringify(lines)).toContain("hunter2");
    expect(JSON.stringify(api.lines)).not.toContain(api.token);
  });
});

describe("odd clients", () => {
  it("that send an authority which is no host do not end the process", async () => {
    const session = http2.connect(api.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/zfsilo.v1.Service/GetServerInfo",
      ":authority": "%2Fvar%2Frun%2Fzfsilo.sock",
      "content-type": "application/json",
      authorization: `Bearer ${api.token}`,
    });
    stream.end("{}");
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
    stream.resume();
    await once(stream, "close");
    session.close();
    const socket = net.connect(Number(api.address.split(":")[1]), "127.0.0.1");
    socket.write("POST /zfsilo.v1.Service/GetServerInfo HTTP/1.1\r\nHost: %2F[::\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toContain("401");
    socket.destroy();
  });

  it("that dribble the first bytes are understood", async () => {
    const socket = net.connect(Number(api.address.split(":")[1]), "127.0.0.1");
    for (const byte of "POST /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") {
      socket.write(byte);
      await sleep(1);
    }
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toContain("405");
    socket.destroy();
  });

  it("that send garbage or hang up at once leave the server alone", async () => {
    for (const bytes of ["PRX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\ngarbage", "\0\0\0\0", ""]) {
      const socket = net.connect(Number(api.address.split(":")[1]), "127.0.0.1");
      socket.on("error", () => undefined);
      await once(socket, "connect");
      socket.write(bytes);
      socket.resetAndDestroy();
    }
    await sleep(50);
    expect((await callJson(api, "Service/GetServerInfo", {})).status).toBe(200);
  });
});

describe("health", () => {
  it("needs no token and follows readiness", async () => {
    const client = createClient(health.Health, createGrpcTransport({ baseUrl: api.url }));
    const serving = health.HealthCheckResponse_ServingStatus;
    expect(await client.check({})).toMatchObject({ status: serving.SERVING });
    expect(await client.check({ service: "zfsilo.v1.VolumeService" })).toMatchObject({ status: serving.SERVING });
    await expect(client.check({ service: "nobody.v1.Knows" })).rejects.toMatchObject({ code: Code.NotFound });
    const seen: number[] = [];
    for await (const { status } of client.watch({ service: "zfsilo.v1.Service" })) {
      seen.push(status);
      if (seen.length === 3) break;
      api.readiness.set(!api.readiness.ready);
    }
    expect(seen).toEqual([serving.SERVING, serving.NOT_SERVING, serving.SERVING]);
    for await (const { status } of client.watch({ service: "nobody.v1.Knows" })) {
      expect(status).toBe(serving.SERVICE_UNKNOWN);
      break;
    }
  });
});

describe("stopping", () => {
  it("lets a call end, ends streams, and refuses new connections", async () => {
    await api.stores.operations.open(journalEntry("op_open"));
    await api.stores.hosts.insert(hostRecord("hst_slow"));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let arrived = (): void => undefined;
    const called = new Promise<void>((resolve) => (arrived = resolve));
    api.ports.probe = {
      check: async () => {
        arrived();
        await held;
        return [{ name: "tool/zfs", state: "ok", observed: "zfs-2.1.11", remedy: "" }];
      },
    };
    const transport = createGrpcTransport({ baseUrl: api.url, interceptors: [withToken(api.token)] });
    const slow = createClient(HostService, transport).checkHost({ name: "hosts/hst_slow" });
    const watch = createClient(OperationService, transport).watchOperation({ name: "operations/op_open" });
    const watched = (async () => {
      for await (const { operation } of watch) expect(operation!.name).toBe("operations/op_open");
    })().catch((failure: unknown) => ConnectError.from(failure));
    await called;
    while (api.watchers.size === 0) await sleep(5);
    const stopped = api.server.stop(5_000);
    expect(await watched).toMatchObject({ code: Code.Unavailable });
    await expect(fetch(`${api.url}/healthz`)).rejects.toThrow();
    release();
    expect((await slow).ready).toBe(true);
    await stopped;
    expect((await api.stores.operations.get(parseOperationId("op_open"))).state).toBe("running");
  });

  it("cuts off what does not end in time, idle sessions included", async () => {
    const idle = http2.connect(api.url);
    await once(idle, "remoteSettings");
    const silent = net.connect(Number(api.address.split(":")[1]), "127.0.0.1");
    await once(silent, "connect");
    silent.on("error", () => undefined);
    const began = performance.now();
    await api.server.stop(200);
    expect(performance.now() - began).toBeLessThan(2_000);
    idle.destroy();
  });
});
