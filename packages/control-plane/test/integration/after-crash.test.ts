import { expect, it } from "vitest";
import { reconcileVolume } from "../../src/reconcile/apply.ts";
import { requestConnect } from "../../src/volume/connect.ts";
import { requestPublish } from "../../src/volume/export.ts";
import { requestMount } from "../../src/volume/stage.ts";
import { mountInput, subject, take, Worlds } from "../world/ladder.ts";
import type { World } from "../world/world.ts";

const published = new Worlds({ kind: "ext4", rung: "published" });
const mounted = new Worlds({ kind: "ext4", rung: "mounted" });

/** Resolves when the first step of an operation has begun, each of whose steps then takes a while. */
function begun(world: World): Promise<void> {
  return new Promise((resolve) => {
    world.hooks.step = async (_entry, _step, work) => {
      resolve();
      await new Promise((next) => setTimeout(next, 100));
      return work();
    };
  });
}

async function crashWhileConnecting(world: World): Promise<void> {
  const died = new Promise<void>((resolve) => {
    world.hooks.step = (_entry, step, work) => {
      if (step !== "log in") return work();
      world.now.life.end();
      resolve();
      return new Promise(() => undefined);
    };
  });
  await Promise.race([died, requestConnect(world.requests, subject, take, false)]);
  world.hooks.step = undefined;
  await world.crash();
}

/** ControllerPublishVolume publishes before it connects: repeated, its first call is not the one that died. */
it("calls wait while what a crash left is finished", async () => {
  await using world = await published.open();
  await crashWhileConnecting(world);
  const working = begun(world);
  const recovery = world.now.operations.retryUnfinished();
  await working;
  await requestPublish(world.requests, subject);
  const { volume } = await requestConnect(world.requests, subject, take, false);
  await recovery;
  expect(volume.attachments).toMatchObject([{ hostId: take, state: "connected" }]);
  expect(await world.now.stores.operations.listOpen()).toEqual([]);
});

it("calls wait while the control plane repairs by itself, and are refused beside another call's repair", async () => {
  await using world = await mounted.open();
  for (const background of [true, false]) {
    world.sim.powerCycle(take);
    const working = begun(world);
    const repair = reconcileVolume(world.requests, subject, [], { background });
    await working;
    const call = requestMount(world.requests, subject, mountInput(subject));
    if (background) await call;
    else await expect(call).rejects.toMatchObject({ reason: "aborted" });
    await repair;
  }
});
