import { createHash } from "node:crypto";
import http from "node:http";
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
