import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningApi, type RunningApi } from "./running-api.ts";

/**
 * What a stranger can do to the port, each attack counted and short. While it goes on, /healthz must answer; the bound is for
 * a machine that runs other tests beside this one.
 */
const healthLimitMs = 1_000;

let api: RunningApi;
beforeEach(async () => {
  api = await runningApi();
});
afterEach(() => api[Symbol.asyncDispose]());

interface Watched {
  readonly slowestHealthMs: number;
  readonly stallMs: number;
}

/** Probes /healthz on connections of its own until the attack is over. */
async function whileProbed(attack: () => Promise<unknown>): Promise<Watched> {
  const stalls = monitorEventLoopDelay({ resolution: 5 });
  stalls.enable();
  const over = new AbortController();
  let slowestHealthMs = 0;
  const probes = (async () => {
    do {
      const began = performance.now();
      expect(await healthz()).toBe(200);
      slowestHealthMs = Math.max(slowestHealthMs, performance.now() - began);
      await sleep(10);
    } while (!over.signal.aborted);
  })();
  try {
    await attack();
  } finally {
    over.abort();
    await probes;
    stalls.disable();
  }
  return { slowestHealthMs, stallMs: stalls.max / 1e6 };
}

function healthz(): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get(`${api.url}/healthz`, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject);
  });
}

const post = (body: Uint8Array<ArrayBuffer>, headers: Record<string, string>, method = "HostService/CreateHost"): Promise<Response> =>
  fetch(`${api.url}/zfsilo.v1.${method}`, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });

const plain = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text));
const brotli = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }));

/** A few bytes on the wire, megabytes once inflated. */
const bodies: readonly [string, string][] = [
  ["objects", `{"host":{"pools":[${"{},".repeat(1_000_000)}{}]}}`],
  ["a map", `{"host":{"labels":{${Array.from({ length: 200_000 }, (_, at) => `"k${at}":""`).join(",")}}}}`],
  ["digits", `{"host":{"pools":[{"reservedBytes":${"9".repeat(3_500_000)}}]}}`],
  ["depth", `{"host":${"[".repeat(3_000_000)}`],
];

describe("a compressed body that inflates to megabytes", () => {
  it.each(bodies)("of %s costs nothing without a token", async (_what, text) => {
    const body = brotli(text);
    const seen = await whileProbed(async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(body, { "content-encoding": "br" })));
      for (const answer of answers) expect(answer.status).toBe(401);
      await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    });
    expect(seen.slowestHealthMs).toBeLessThan(healthLimitMs);
    expect(seen.stallMs).toBeLessThan(healthLimitMs);
  });

  it.each(bodies)("of %s is refused before it is parsed, with a token", async (_what, text) => {
    const body = brotli(text);
    const headers = { "content-encoding": "br", authorization: `Bearer ${api.token}` };
    const seen = await whileProbed(async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => post(body, headers)));
      for (const answer of answers) expect(answer.status).toBe(429);
      for (const answer of answers) expect((await answer.text()).length).toBeLessThan(1_000);
    });
    expect(seen.slowestHealthMs).toBeLessThan(healthLimitMs);
  });

  it("is bounded for the services that take no token", async () => {
    const text = `{"joinToken":"${"x".repeat(3_000_000)}"}`;
    for (const [body, encoding] of [[brotli(text), "br"], [new Uint8Array(gzipSync(text)), "gzip"], [plain(text), "identity"]] as const) {
      expect((await post(body, { "content-encoding": encoding }, "AgentService/Enrol")).status).toBe(429);
    }
  });
});

it("a stranger's upload is not read to its end", async () => {
  const request = http.request(`${api.url}/zfsilo.v1.HostService/CreateHost`, { method: "POST", agent: false, headers: { "content-type": "application/json" } });
  const ended = new Promise<number>((resolve) => {
    request.once("error", () => undefined);
    request.once("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
  });
  let sent = 0;
  const chunk = Buffer.alloc(64 * 1024, " ");
  const closed = new Promise<void>((resolve) => request.once("close", resolve));
  const pump = setInterval(() => {
    if (request.destroyed) return;
    sent += chunk.length;
    request.write(chunk);
  }, 5);
  expect(await ended).toBe(401);
  await closed;
  clearInterval(pump);
  expect(sent).toBeLessThan(64 << 20);
});

it("input comes back short in every error", async () => {
  const long = createHash("sha256").update("x").digest("hex").repeat(2_000);
  const authorization = `Bearer ${api.token}`;
  const inputs: readonly [string, object][] = [
    ["HostService/GetHost", { name: long }],
    ["HostService/GetHost", { [long]: 1 }],
    ["HostService/CreateHost", { hostId: long }],
    ["HostService/CreateHost", { hostId: "a", host: { labels: { [long]: long } } }],
    ["HostService/CreateHost", { hostId: "a", host: { pools: [{ name: long, parentDataset: long }] } }],
    ["HostService/ListHosts", { pageToken: long }],
    ["HostService/ListHosts", { pageSize: long }],
    ["OperationService/ListOperations", { filter: `name = "${long}"` }],
    ["OperationService/WatchOperation", { name: long }],
    ["Service/GetCapacity", { host: long, pool: long }],
  ];
  for (const [method, message] of inputs) {
    const answer = await post(plain(JSON.stringify(message)), { authorization }, method);
    const text = await answer.text();
    expect(text.length, `${method} ${text.slice(0, 200)}`).toBeLessThan(4_000);
  }
});

/** As many requests as fit on one connection, each cancelled at once. */
async function rapidReset(count: number, headers: http2.OutgoingHttpHeaders): Promise<number> {
  const session = http2.connect(api.url);
  session.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => session.once("close", resolve));
  await once(session, "remoteSettings");
  let refused = 0;
  for (let at = 0; at < count && !session.destroyed; at += 1) {
    const stream = session.request({ ":method": "POST", ":path": "/zfsilo.v1.Service/GetServerInfo", "content-type": "application/grpc", ...headers });
    stream.on("error", () => (refused += 1));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    if (at % 50 === 49) await sleep(0);
  }
  await Promise.race([closed, sleep(2_000)]);
  const { destroyed } = session;
  session.destroy();
  return destroyed ? refused : -1;
}

const metric = async (limit: string): Promise<number> => {
  const text = await (await fetch(`${api.url}/metrics`)).text();
  return Number(new RegExp(`zfsilo_port_limits_total\\{limit="${limit}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
};

describe("HTTP/2", () => {
  it("says how many streams a connection may have", async () => {
    const session = http2.connect(api.url);
    const [settings] = (await once(session, "remoteSettings")) as [http2.Settings];
    expect(settings.maxConcurrentStreams).toBe(200);
    session.destroy();
  });

  it.each([
    ["a stranger", () => ({}), healthLimitMs],
    ["a stranger who guesses", () => ({ authorization: "Bearer wrong" }), healthLimitMs],
    // Several hundred calls get in before; the client runs in this process too.
    ["a caller", () => ({ authorization: `Bearer ${api.token}` }), 5 * healthLimitMs],
  ])("ends the connection of %s that begins calls to cancel them", async (_who, headers, limitMs) => {
    const seen = await whileProbed(async () => {
      expect(await rapidReset(1_500, headers())).toBeGreaterThan(-1);
    });
    expect(seen.slowestHealthMs).toBeLessThan(limitMs);
    expect((await metric("requests")) + (await metric("resets"))).toBeGreaterThan(0);
    expect((await post(plain("{}"), { authorization: `Bearer ${api.token}` }, "Service/GetServerInfo")).status).toBe(200);
  });

  it("keeps no half-open stream of a stranger, and of a caller for a while", async () => {
    await api[Symbol.asyncDispose]();
    api = await runningApi(undefined, { messageTimeoutMs: 600 });
    for (const authorization of ["", `Bearer ${api.token}`]) {
      const session = http2.connect(api.url);
      const streams = Array.from({ length: 50 }, () =>
        session.request({ ":method": "POST", ":path": "/zfsilo.v1.Service/GetServerInfo", "content-type": "application/proto", authorization }),
      );
      const began = performance.now();
      await Promise.all(streams.map(async (stream) => {
        stream.on("error", () => undefined);
        stream.resume();
        await new Promise<void>((resolve) => stream.once("close", resolve));
      }));
      expect(performance.now() - began).toBeLessThan(6_000);
      session.destroy();
    }
  });
});

describe("connections", () => {
  const open = async (bytes: string): Promise<net.Socket> => {
    const socket = net.connect(Number(new URL(api.url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    socket.write(bytes);
    return socket;
  };

  it("of strangers give way to new ones, and those of callers stay", async () => {
    await api[Symbol.asyncDispose]();
    api = await runningApi(undefined, { limits: { connections: 40 } });
    const session = http2.connect(api.url);
    const call = async (): Promise<number> => {
      const stream = session.request({ ":method": "POST", ":path": "/zfsilo.v1.Service/GetServerInfo", "content-type": "application/json", authorization: `Bearer ${api.token}` });
      stream.end("{}");
      const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
      stream.resume();
      await once(stream, "close");
      return headers[":status"] ?? 0;
    };
    expect(await call()).toBe(200);
    const strangers: net.Socket[] = [];
    const seen = await whileProbed(async () => {
      for (let at = 0; at < 300; at += 1) strangers.push(await open("GET /healthz HTTP/1.1\r\nHost: a\r\n"));
    });
    expect(seen.slowestHealthMs).toBeLessThan(healthLimitMs);
    await expect.poll(() => strangers.filter(({ destroyed, readableEnded }) => !destroyed && !readableEnded).length).toBeLessThan(45);
    expect(await call()).toBe(200);
    expect(await metric("connections")).toBeGreaterThan(200);
    expect(api.lines.filter(({ limit }) => limit === "connections")).toHaveLength(1);
    session.destroy();
    for (const socket of strangers) socket.destroy();
  });

  it("of strangers end when they are idle, and later those of callers", async () => {
    await api[Symbol.asyncDispose]();
    api = await runningApi(undefined, { limits: { strangerIdleMs: 200, idleMs: 1_500, sweepMs: 50 } });
    const stranger = http2.connect(api.url);
    const caller = http2.connect(api.url);
    const closed = (session: http2.ClientHttp2Session): Promise<number> => {
      session.on("error", () => undefined);
      const began = performance.now();
      return new Promise((resolve) => session.once("close", () => { resolve(performance.now() - began); }));
    };
    const ends = [closed(stranger), closed(caller)];
    const stream = caller.request({ ":method": "POST", ":path": "/zfsilo.v1.Service/GetServerInfo", "content-type": "application/json", authorization: `Bearer ${api.token}` });
    stream.end("{}");
    stream.resume();
    const [first, second] = await Promise.all(ends);
    expect(second! - first!).toBeGreaterThan(500);
  });
});

describe("wrong tokens", () => {
  const guess = async (token: string): Promise<number> => {
    const answer = await post(plain("{}"), { authorization: `Bearer ${token}` }, "Service/GetServerInfo");
    await answer.arrayBuffer();
    return answer.status;
  };

  it("slow down who shows many of them, and nobody who shows a right one", async () => {
    const began = performance.now();
    const guesses = Promise.all(Array.from({ length: 60 }, (_, at) => guess(`wrong ${at}`)));
    const right: number[] = [];
    for (let at = 0; at < 10; at += 1) {
      const asked = performance.now();
      expect(await guess(api.token)).toBe(200);
      right.push(performance.now() - asked);
    }
    expect(new Set(await guesses)).toEqual(new Set([401]));
    expect(performance.now() - began).toBeGreaterThan(950);
    expect(Math.min(...right)).toBeLessThan(500);
  });

  it("are slowed down alike where agents show them", async () => {
    const enrol = () => post(plain(JSON.stringify({ joinToken: "no", credentialSha256: "0".repeat(64), nodeName: "a" })), {}, "AgentService/Enrol");
    const began = performance.now();
    const answers = await Promise.all(Array.from({ length: 40 }, enrol));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    expect(performance.now() - began).toBeGreaterThan(950);
  });
});
