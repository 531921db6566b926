import { createLogger, errorChain, parseHostId, parseVolumeId } from "@zfsilo/lib";
import { reconcileVolume } from "../../src/reconcile/apply.ts";
import { cleanLeftovers } from "../../src/reconcile/leftovers.ts";
import { requestConnect, requestDisconnect } from "../../src/volume/connect.ts";
import { requestCreate } from "../../src/volume/create.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestPublish, requestUnpublish } from "../../src/volume/export.ts";
import { requestMount, requestStage, requestUnmount, requestUnstage } from "../../src/volume/stage.ts";
import { requestUpdate } from "../../src/volume/update.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import { capacityBytes, createInput, stagingPathOf, targetPathOf } from "../world/ladder.ts";
import { World } from "../world/world.ts";
import { expectWorldIs, modelOf } from "./check.ts";
import { after, walkHosts, walkVolumes, type Call, type CallKind, type Model, type WalkVolume } from "./model.ts";
import { restoreFromCopy } from "./restored.ts";
import { refused, Walker, type MachineName, type Terrain, type Trouble } from "./walker.ts";

export type WalkStep =
  | { readonly kind: "call"; readonly volume: WalkVolume; readonly call: Call; readonly trouble: Trouble }
  | { readonly kind: "together"; readonly volume: WalkVolume; readonly calls: readonly [Call, Call] }
  | { readonly kind: "power-cut"; readonly host: MachineName }
  /** An initiator that is installed anew, and a storage host that gets another address in place of the one it had. */
  | { readonly kind: "renamed"; readonly host: MachineName; readonly nth: number }
  | { readonly kind: "moved"; readonly nth: number }
  | { readonly kind: "restored"; readonly volume: WalkVolume };

export const grownBytes = capacityBytes + (512n << 20n);

/** Takes a walk and compares the world with the model after every step. Returns how many calls were made. */
export async function walk(steps: readonly WalkStep[]): Promise<number> {
  await using world = await World.open();
  const walker = new Walker<VolumeCall, Models>(world, ladder, new Map(walkVolumes.map((volume) => [volume, undefined])));
  for (const [index, step] of steps.entries()) {
    try {
      await take(walker, world, step);
      await walker.settle();
    } catch (error) {
      throw new Error(`step ${index + 1}, ${JSON.stringify(step)}: ${errorChain(error)}`, { cause: error });
    }
  }
  return walker.calls;
}

async function take(walker: Walker<VolumeCall, Models>, world: World, step: WalkStep): Promise<void> {
  switch (step.kind) {
    case "call":
      return walker.call(step, step.trouble);
    case "together": {
      const [one, two] = step.calls;
      return walker.together([{ volume: step.volume, call: one }, { volume: step.volume, call: two }]);
    }
    case "restored":
      return restoreFromCopy(world, step.volume);
    case "power-cut":
      world.sim.powerCycle(step.host);
      return;
    case "renamed":
      world.sim.setInitiatorName(step.host, `iqn.2026-11.example:${step.host.slice("hst_".length)}${step.nth}`);
      world.sim.powerCycle(step.host);
      return;
    case "moved": {
      const address = `192.0.2.${100 + step.nth}`;
      await world.now.stores.hosts.update(parseHostId("hst_give"), { portals: [{ address, port: 3260 }] });
      world.sim.setAddresses("hst_give", [address]);
    }
  }
}

interface VolumeCall {
  readonly volume: WalkVolume;
  readonly call: Call;
}

type Models = ReadonlyMap<WalkVolume, Model>;

const buildUps: readonly CallKind[] = ["create", "publish", "connect", "stage", "mount"];

const ladder: Terrain<VolumeCall, Models> = {
  after(models, { volume, call }) {
    const next = after(volume, models.get(volume), call);
    return next === refused ? refused : new Map(models).set(volume, next);
  },
  request: (requests, { volume, call }) => request(requests, volume, call),
  buildsUp: ({ call }) => buildUps.includes(call.kind),
  force: ({ volume }, host) => ({ volume, call: { kind: "force-disconnect", host } }),
  async read({ now }) {
    const rows = await Promise.all(walkVolumes.map((volume) => now.stores.volumes.find(parseVolumeId(volume))));
    return new Map(walkVolumes.map((volume, index) => [volume, modelOf(rows[index])]));
  },
  picture: (models) => models,
  expect: expectWorldIs,
  async settle({ now: { operations, requests, stores } }) {
    await operations.retryUnfinished();
    for (const name of walkVolumes) {
      const id = parseVolumeId(name);
      if ((await stores.volumes.find(id)) === undefined) continue;
      await reconcileVolume(requests, id, walkHosts.map((host) => parseHostId(host)));
    }
    await cleanLeftovers({ ...requests, log: createLogger("silent") }, () => true, { failed: () => undefined, forget: () => undefined });
  },
};

async function request(requests: RequestDeps, volume: WalkVolume, call: Call): Promise<unknown> {
  const id = parseVolumeId(volume);
  switch (call.kind) {
    case "create":
      return requestCreate(requests, createInput(id, volume === "vol_files" ? "ext4" : "block"));
    case "delete":
      return requestDelete(requests, id, true);
    case "publish":
      return requestPublish(requests, id);
    case "unpublish":
      return requestUnpublish(requests, id);
    case "grow":
      return requestUpdate(requests, id, { revision: 0, capacityBytes: grownBytes });
    case "connect":
    case "disconnect":
    case "force-disconnect":
    case "stage":
    case "unstage":
    case "mount":
    case "unmount":
      return onHost(requests, volume, call);
  }
}

async function onHost(requests: RequestDeps, volume: WalkVolume, call: Extract<Call, { host: unknown }>): Promise<unknown> {
  const id = parseVolumeId(volume);
  const hostId = parseHostId(call.host);
  const staged = { hostId, stagingPath: stagingPathOf(id), readOnly: false };
  switch (call.kind) {
    case "connect":
      return requestConnect(requests, id, hostId, false);
    case "disconnect":
      return requestDisconnect(requests, id, hostId, false);
    case "force-disconnect":
      return requestDisconnect(requests, id, hostId, true);
    case "stage":
      return requestStage(requests, id, staged);
    case "unstage":
      return requestUnstage(requests, id, hostId);
    case "mount":
      return requestMount(requests, id, { hostId, targetPath: targetPathOf(id), readOnly: false });
    case "unmount":
      return requestUnmount(requests, id, hostId, targetPathOf(id));
  }
}
