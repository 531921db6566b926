import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasGo } from "../../../csi/test/go-program.ts";
import { startSystem, type System } from "../../src/api/system.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";
import { callFromGo, type GoCall } from "./go-caller.ts";

let system: System;
let driver: RunningDriver;
beforeAll(async () => {
  system = await startSystem();
  driver = await driverOf(system);
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});

/** What external-provisioner takes for "may still be going on": it repeats the call with the same name. */
const passing = new Set(["DeadlineExceeded", "Aborted", "Unavailable", "Canceled"]);

function createCall(name: string, timeoutMs: number): GoCall {
  return {
    method: "Controller/CreateVolume",
    timeoutMs,
    request: {
      name,
      capacityRange: { requiredBytes: String(16 * 1024 ** 2) },
      volumeCapabilities: [{ mount: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } }],
      parameters: { host: "hst_give", sparse: "true" },
    },
  };
}

/** All at once, and what did not get its answer in time again, until all have one. Returns the ids and how many tries it took. */
async function provision(names: readonly string[], timeoutMs: number): Promise<{ ids: Map<string, string>; tries: number }> {
  const ids = new Map<string, string>();
  for (let tries = 1; tries <= 300; tries += 1) {
    const open = names.filter((name) => !ids.has(name));
    const answers = await callFromGo(driver.socket, open.map((name) => createCall(name, timeoutMs)));
    answers.forEach(({ code, message, responses }, index) => {
      if (code === "OK") ids.set(open[index]!, (responses[0]!["volume"] as { volumeId: string }).volumeId);
      else if (!passing.has(code)) throw new Error(`CreateVolume ${open[index]}: ${code}: ${message}`);
    });
    if (ids.size === names.length) return { ids, tries };
  }
  throw new Error(`${names.length - ids.size} volumes were never made`);
}

/** How often a volume was really made: calls that join one that runs, or find it done, are no operation of their own. */
async function creations(): Promise<number> {
  const { operations } = await system.operations.listOperations({ pageSize: 1000, filter: 'kind = "volume.create"' });
  return operations.length;
}

describe.runIf(hasGo())("two hundred claims at once, called by grpc-go", () => {
  it.each([
    ["with the 10 s that the provisioner gives", 10_000],
    ["with a tenth of it and a slow pool, so that most calls are repeated while the first still runs", 1_000],
  ])("%s: each volume is made once and none is lost", { timeout: 300_000 }, async (_title, timeoutMs) => {
    const isSlow = timeoutMs < 10_000;
    const slow = { host: "hst_give", match: { program: "zfs", argvIncludes: ["create"] }, times: Infinity, effect: { kind: "delay", ms: 20 } } as const;
    if (isSlow) system.controlPlane.world.faults.add(slow);
    const names = Array.from({ length: 200 }, (_, index) => `pvc-${timeoutMs}-${index}`);
    const before = await creations();
    const { ids, tries } = await provision(names, timeoutMs);
    if (isSlow) expect(tries).toBeGreaterThan(1);
    expect(new Set(ids.values()).size).toBe(200);
    expect((await creations()) - before).toBe(200);
    system.controlPlane.world.faults.clear();
    const { volumes } = await system.volumes.listVolumes({ pageSize: 1000 });
    expect(new Set(volumes.map(({ name }) => name))).toEqual(new Set([...ids.values()].map((id) => `volumes/${id}`)));
    expect(new Set(volumes.map(({ displayName }) => displayName))).toEqual(new Set(names));

    const deleted = await callFromGo(
      driver.socket,
      [...ids.values()].map((volumeId) => ({ method: "Controller/DeleteVolume", request: { volumeId }, timeoutMs: 60_000 })),
    );
    expect(new Set(deleted.map(({ code }) => code))).toEqual(new Set(["OK"]));
    expect((await system.volumes.listVolumes({})).volumes).toEqual([]);
  });
});
