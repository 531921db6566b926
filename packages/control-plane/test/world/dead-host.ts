import { createLogger } from "@zfsilo/lib";
import { parseIqn } from "@zfsilo/host";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { cleanLeftovers } from "../../src/reconcile/leftovers.ts";
import { requestConnect, requestDisconnect } from "../../src/volume/connect.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestUnpublish } from "../../src/volume/export.ts";
import type { Case } from "./cases.ts";
import { bystander, stagingPathOf, subject, take, tap, targetPathOf } from "./ladder.ts";
import type { World } from "./world.ts";

/** `silent`: it answers nothing from then on. `hung`: what runs there then never ends, and nothing later is answered. */
export type Death = "silent" | "hung";

const signal = new AbortController().signal;

/** How many commands the call runs on the initiator when nothing is wrong. */
export async function commandsOnTake(world: World, example: Case): Promise<number> {
  let count = 0;
  world.hooks.command = (host, work) => {
    if (host === take) count += 1;
    return work();
  };
  await example.request(world.requests);
  world.hooks.command = undefined;
  return count;
}

/** Makes the call, and the initiator dies with its nth command. Resolves when the call has failed, or hangs. */
export async function dieDuring(world: World, example: Case, nth: number, death: Death): Promise<void> {
  let count = 0;
  let struck = (): void => undefined;
  const hanging = new Promise<void>((resolve) => {
    struck = resolve;
  });
  world.hooks.command = async (host, work) => {
    if (host === take && (count += 1) === nth) {
      if (death === "silent") world.sim.setOnline(take, false);
      else {
        world.sim.faults.add({ host: take, match: {}, effect: { kind: "hang" } });
        const answer = work();
        for (let turns = 0; turns < 5; turns += 1) await turn();
        world.sim.setOnline(take, false);
        struck();
        return answer;
      }
    }
    return work();
  };
  const ended = example.request(world.requests).catch(() => undefined);
  await (death === "hung" ? Promise.race([hanging, ended]) : ended);
  world.hooks.command = undefined;
}

/** Force needs nothing of the dead machine, whatever was open, and afterwards the volume is free. */
export async function expectForced(world: World): Promise<void> {
  const { requests, now } = world;
  const late = sleep(5_000, "it took longer than 5 s", { ref: false });
  const forced = await Promise.race([requestDisconnect(requests, subject, take, true), late]);
  expect(forced).toMatchObject({ volume: { attachments: [] } });
  expect(await now.stores.operations.listOpen()).toEqual([]);
}

/** Another host has it, or it is deleted; then the machine is back, and nothing of the volume is left there. */
export async function expectFree(world: World, then: "connect" | "delete"): Promise<void> {
  const { requests, now } = world;
  const { targetName } = await now.stores.volumes.get(subject);
  if (then === "connect") {
    await requestConnect(requests, subject, tap, false);
  } else {
    await requestUnpublish(requests, subject);
    await requestDelete(requests, subject, false, { snapshotPolicy: "delete" });
  }
  await expectCleanWhenBack(world, targetName);
  if (then === "connect") await requestDisconnect(requests, subject, tap, false);
}

export async function expectCleanWhenBack(world: World, targetName: string): Promise<void> {
  const { requests, now } = world;
  world.sim.faults.clear();
  world.sim.setOnline(take, true);
  await now.operations.retryUnfinished();
  await cleanLeftovers({ ...requests, log: createLogger("silent") }, () => true, { failed: () => undefined, forget: () => undefined });
  expect(await now.stores.leftovers.all()).toEqual([]);
  expect(await now.stores.operations.listOpen()).toEqual([]);
  const { iscsi, mounts } = await requests.machines.get(take);
  expect(await iscsi.findSession({ target: parseIqn(targetName) }, { signal })).toBeUndefined();
  expect(await iscsi.listRecordedTargets({ signal })).not.toContain(targetName);
  const targets = (await mounts.list({ signal })).map(({ target }) => target);
  for (const path of [stagingPathOf(subject), targetPathOf(subject)]) expect(targets).not.toContain(path);
  // What is none of its business lives on.
  expect(targets).toContain(targetPathOf(bystander));
}
