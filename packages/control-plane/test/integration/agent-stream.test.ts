import { LocalExecutor, type Argv, type CommandError, type Executor, type RunOptions } from "@zfsilo/command";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AgentExecutor } from "../../src/machines/agent/agent-executor.ts";
import { until } from "../agent/agent-service.ts";
import { loopback, type Loopback } from "../agent/loopback.ts";

const { signal } = new AbortController();
let loop: Loopback;
let stop: AbortController;
beforeEach(async () => {
  loop = await loopback();
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort(new Error("the test is over"));
  await loop[Symbol.asyncDispose]();
});

const sh = (script: string) => ["sh", "-c", script] as const;
const failure = async (call: Promise<unknown>): Promise<CommandError> => (await call.then(() => undefined, (error: unknown) => error)) as CommandError;

async function served(executor: Executor = new LocalExecutor("here"), identity = {}) {
  const one = loop.serve(executor, stop.signal, identity);
  await one.welcomed;
  return one;
}

/** Resolves no call until it is let go, and counts those that wait. */
function holding() {
  let waiting = 0;
  let most = 0;
  const inner = new LocalExecutor("here");
  const gate = new AbortController();
  setMaxListeners(0, gate.signal);
  const executor: Executor = Object.assign(Object.create(inner) as Executor, {
    async run(_argv: unknown, options: { readonly signal: AbortSignal }) {
      waiting += 1;
      most = Math.max(most, waiting);
      if (!gate.signal.aborted) await new Promise((resolve) => {
        gate.signal.addEventListener("abort", resolve, { once: true });
        options.signal.addEventListener("abort", resolve, { once: true });
      });
      waiting -= 1;
      return { exitCode: 0, stdout: "", stderr: "" };
    },
  });
  return { executor, gate, waiting: () => waiting, most: () => most };
}

describe("limits", () => {
  it("keep 100 MB of output from both ends, and the stream serves on", async () => {
    await served();
    const before = process.memoryUsage().arrayBuffers;
    const call = loop.executor.run(sh("head -c 104857600 /dev/zero"), { signal });
    expect(await failure(call)).toMatchObject({ reason: "internal", outcome: "unknown" });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 << 20);
    expect((await loop.executor.run(["echo", "on"], { signal })).stdout).toBe("on\n");
  });

  it("hold at the agent even when more is asked for", async () => {
    await served();
    const call = loop.executor.run(sh("head -c 104857600 /dev/zero"), { signal, maxOutputBytes: 200 << 20 });
    expect(await failure(call)).toMatchObject({ reason: "internal", outcome: "unknown" });
  });

  it("carry a large output whole", async () => {
    await served();
    const { stdout } = await loop.executor.run(sh("head -c 20000000 /dev/zero | tr '\\0' x"), { signal, maxOutputBytes: 32 << 20 });
    expect(stdout === "x".repeat(20_000_000)).toBe(true);
  });

  it("let a flood of requests wait here, and few run there", async () => {
    const host = holding();
    await served(host.executor);
    const calls = Array.from({ length: 500 }, () => loop.executor.run(["true"], { signal }));
    await until("the agent works", () => host.waiting() > 0);
    await sleep(100);
    expect(host.waiting()).toBe(32);
    host.gate.abort();
    await Promise.all(calls);
    expect(host.most()).toBe(32);
  });

  it("make the agent refuse what a control plane without them sends", async () => {
    const host = holding();
    await served(host.executor);
    const link = loop.hub.find(loop.host)!;
    const refused: string[] = [];
    for (let index = 0; index < 200; index += 1) {
      const request = { heldBytes: 0, receive: (message: { readonly case?: string | undefined }) => refused.push(message.case ?? ""), lost: () => undefined };
      link.begin(request, (id) => ({ case: "command", value: { id, argv: ["true"], timeoutMs: 60_000n, maxOutputBytes: 1n } }));
    }
    await until("the rest is refused", () => refused.length === 136);
    expect(new Set(refused)).toEqual(new Set(["failure"]));
    expect(host.most()).toBe(64);
  });

  it("refuse a request that is larger than a message may be", async () => {
    await served();
    const call = loop.executor.files([{ op: "write", path: "/tmp/never", content: "x".repeat(17 << 20), create: { mode: 0o600 } }], { signal });
    expect(await failure(call)).toMatchObject({ reason: "invalid_argument", outcome: "not_started" });
  });
});

describe("a stream", () => {
  it("that breaks leaves what runs unknown, and ends it on the host before the next one serves", async () => {
    const local = new LocalExecutor("here");
    const one = await served(local);
    const marker = `/tmp/zfsilo-${randomUUID()}`;
    const call = failure(loop.executor.run(sh(`echo $$ > ${marker}; exec sleep 60`), { signal }));
    const pid = async (): Promise<string> => (await local.files([{ op: "read", path: marker, tolerate: ["ENOENT"] }], { signal }))[0]?.text ?? "";
    await until("it runs", async () => (await pid()).endsWith("\n"));
    one.breakConnection();
    expect(await call).toMatchObject({ reason: "unavailable", outcome: "unknown" });
    await one.ended;
    const [state] = await local.files([{ op: "read", path: `/proc/${(await pid()).trim()}/stat`, tolerate: ["ENOENT"] }], { signal });
    expect(state?.errno ?? / [ZX] /.test(state?.text ?? "")).toBeTruthy();
    await local.files([{ op: "unlink", path: marker }], { signal });
    expect(await failure(loop.executor.run(["true"], { signal }))).toMatchObject({ reason: "unavailable", outcome: "not_started" });
    await served(local);
    expect((await loop.executor.run(["echo", "again"], { signal })).stdout).toBe("again\n");
    expect(loop.events).toEqual(["attached hst_looped", "detached hst_looped", "attached hst_looped"]);
  });

  it("of the same process takes the place of the one before", async () => {
    const instance = randomUUID();
    const first = await served(undefined, { instance });
    await served(undefined, { instance });
    expect(String(await first.ended)).toContain("connected again");
    expect((await loop.executor.run(["echo", "second"], { signal })).stdout).toBe("second\n");
  });

  it("of another process is refused while the first one lives", async () => {
    await served();
    const second = loop.serve(new LocalExecutor("here"), stop.signal);
    expect(String(await second.ended)).toContain("is served by another agent");
    expect(loop.events).toEqual(["attached hst_looped", "contested hst_looped"]);
    expect((await loop.executor.run(["echo", "first"], { signal })).stdout).toBe("first\n");
  });

  it("with a wrong credential, or another host's name, is refused", async () => {
    expect(String(await loop.serve(new LocalExecutor("here"), stop.signal, { credential: "wrong" }).ended)).toContain("not an agent of ours");
    expect(String(await loop.serve(new LocalExecutor("here"), stop.signal, { host: "hosts/hst_other" }).ended)).toContain("that of another host");
    expect(loop.events).toEqual(["mismatched hst_looped hosts/hst_other"]);
  });
});

describe("a peer that falls silent", () => {
  it("is given up by both ends", async () => {
    await loop[Symbol.asyncDispose]();
    loop = await loopback(1_000);
    const one = loop.serve(new LocalExecutor("here"), stop.signal);
    await one.welcomed;
    one.freeze();
    await until("it is detached", () => loop.events.includes("detached hst_looped"));
    expect(String(await one.ended)).toContain("silent");
  });
});

describe("an agent of an older version", () => {
  it("is asked for each command of a sequence by itself", async () => {
    const local = new LocalExecutor("here");
    const ran: string[] = [];
    const executor: Executor = Object.assign(Object.create(local) as Executor, {
      run: (argv: Argv, options: RunOptions) => {
        ran.push(argv.join(" "));
        return local.run(argv, options);
      },
      sequence: () => Promise.reject(new Error("it does not know what that is")),
    });
    await served(executor);
    const link = loop.hub.find(loop.host)!;
    const older = new Proxy(link, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (name === "identity") return { ...link.identity, runsSequences: false };
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const asked = new AgentExecutor(loop.host, { find: () => older });
    const gate = { equals: "a\n" };
    const results = await asked.sequence([{ argv: ["echo", "a"], gate }, { argv: ["echo", "b"], gate }, { argv: ["echo", "c"] }], { signal });
    expect(results.map(({ stdout }) => stdout)).toEqual(["a\n", "b\n"]);
    expect(ran).toEqual(["echo a", "echo b"]);
  });
});
