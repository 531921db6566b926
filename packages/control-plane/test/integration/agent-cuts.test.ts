import type { Executor } from "@zfsilo/command";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentService, until, type AgentService } from "../agent/agent-service.ts";

/** Host calls of a volume's life up and down again are numbered, and each in turn meets a stream that breaks. */

/** Every call takes minutes: `ZFSILO_TEST_CUT_STRIDE=1`. Two primes meet every kind of call in either way. */
const stride = { before: 7, after: 5 } as const;
const askedStride = Number(process.env["ZFSILO_TEST_CUT_STRIDE"] ?? 0);

let system: AgentService;
let calls = 0;
let strike: { readonly at: number; readonly when: "before" | "after" } | undefined;

beforeAll(async () => {
  system = await agentService();
  for (const name of ["give", "take"] as const) {
    const token = await system.joinToken({ host: `hosts/${name}` });
    const agent = system.agent(name, { token, executor: striking(system.machine(name)) });
    await agent.host;
    await until(`${name} is connected`, () => agent.connected);
  }
});
afterAll(() => system[Symbol.asyncDispose]());

/** The call takes effect, or does not, and its answer never arrives. */
function striking(inner: Executor): Executor {
  const struck = async <T>(work: () => Promise<T>): Promise<T> => {
    calls += 1;
    if (strike?.at !== calls) return work();
    const { when } = strike;
    strike = undefined;
    if (when === "before") {
      system.cable.cut();
      throw new Error("the stream broke before the call");
    }
    const result = await work();
    system.cable.cut();
    return result;
  };
  return new Proxy(inner, {
    get(target, property) {
      if (property === "run") return (...args: Parameters<Executor["run"]>) => struck(() => target.run(...args));
      if (property === "files") return (...args: Parameters<Executor["files"]>) => struck(() => target.files(...args));
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Asks until it is done, as every client of ours must; only what a lost stream may answer is accepted meanwhile. */
async function insist(method: string, message: object): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await system.service.call(`VolumeService/${method}`, message);
      return;
    } catch (error) {
      const expected = error instanceof Error && /^(?:unavailable|aborted): /.test(error.message);
      if (!expected || tries > 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

const name = "volumes/v";
const take = "hosts/take";

async function life(): Promise<void> {
  await insist("CreateVolume", { volumeId: "v", volume: { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, filesystem: { type: "ext4" } } });
  await insist("PublishVolume", { name });
  await insist("ConnectVolume", { name, host: take });
  await insist("StageVolume", { name, host: take, stagingPath: "/mnt/v" });
  await insist("MountVolume", { name, host: take, targetPath: "/srv/v" });
  await insist("UnmountVolume", { name, host: take, targetPath: "/srv/v" });
  await insist("UnstageVolume", { name, host: take });
  await insist("DisconnectVolume", { name, host: take });
  await insist("UnpublishVolume", { name });
  await insist("DeleteVolume", { name });
}

describe("a stream that breaks", () => {
  it.each(["before", "after"] as const)("%s a host call of a volume's life leaves nothing behind, and the life goes on", async (when) => {
    strike = undefined;
    // The first life also loads modules.
    await life();
    calls = 0;
    await life();
    const clean = system.service.plane.world.snapshot();
    const count = calls;
    expect(count).toBeGreaterThan(20);
    for (let at = 1; at <= count; at += askedStride || stride[when]) {
      calls = 0;
      strike = { at, when };
      await life();
      expect(strike).toBeUndefined();
      expect(system.service.plane.world.snapshot(), `cut ${when} call ${at}`).toEqual(clean);
      const { operations = [] } = await system.service.call("OperationService/ListOperations", { filter: "state = RUNNING OR state = STUCK" });
      expect(operations).toEqual([]);
    }
  }, 600_000);
});
