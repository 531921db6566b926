import { errorChain, parseHostId, parseVolumeId, reasonOf } from "@zfsilo/lib";
import type { FaultEffect } from "@zfsilo/sim-host";
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { reconcileVolume } from "../../src/reconcile/apply.ts";
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
import { after, refused, walkHosts, walkVolumes, type Call, type CallKind, type Model, type WalkVolume } from "./model.ts";

/** What goes wrong while a call runs. `nth` counts what the hosts are asked, commands and batches alike. */
export type Trouble =
  | { readonly kind: "none" }
  | { readonly kind: "fault"; readonly nth: number; readonly times: number; readonly effect: FaultEffect }
  | { readonly kind: "crash"; readonly nth: number; readonly when: "before" | "after" }
  | { readonly kind: "crash-at-write"; readonly nth: number; readonly when: "before" | "after" }
  | { readonly kind: "outage"; readonly host: "hst_give" | "hst_take" | "hst_tap" };

export type WalkStep =
  | { readonly kind: "call"; readonly volume: WalkVolume; readonly call: Call; readonly trouble: Trouble }
  | { readonly kind: "together"; readonly volume: WalkVolume; readonly calls: readonly [Call, Call] }
  | { readonly kind: "power-cut"; readonly host: "hst_give" | "hst_take" | "hst_tap" };

export const grownBytes = capacityBytes + (512n << 20n);

/** Takes a walk and compares the world with the model after every step. Returns how many calls were made. */
export async function walk(steps: readonly WalkStep[]): Promise<number> {
  await using world = await World.open();
  const walker = new Walker(world);
  for (const [index, step] of steps.entries()) {
    try {
      await walker.step(step);
    } catch (error) {
      throw new Error(`step ${index + 1}, ${JSON.stringify(step)}: ${errorChain(error)}`, { cause: error });
    }
  }
  return walker.calls;
}

const buildUps: readonly CallKind[] = ["create", "publish", "connect", "stage", "mount"];

class Walker {
  calls = 0;
  readonly #world: World;
  readonly #models = new Map<WalkVolume, Model>(walkVolumes.map((volume) => [volume, undefined]));

  constructor(world: World) {
    this.#world = world;
  }

  async step(step: WalkStep): Promise<void> {
    switch (step.kind) {
      case "call":
        await this.#call(step.volume, step.call, step.trouble);
        break;
      case "together":
        await this.#together(step.volume, step.calls);
        break;
      case "power-cut":
        this.#world.sim.powerCycle(step.host);
        break;
    }
    await this.#settle();
    await expectWorldIs(this.#world, this.#models);
  }

  async #call(volume: WalkVolume, call: Call, trouble: Trouble): Promise<void> {
    const leadsTo = after(volume, this.#models.get(volume), call);
    const died = this.#arm(trouble);
    const outcome = this.#make(volume, call);
    const first = await Promise.race([outcome, died]);
    this.#disarm();
    if (first === "died") await this.#world.crash();
    if (leadsTo === refused) {
      assert.notEqual(first, undefined, "it must be refused");
      return;
    }
    const before = this.#models.get(volume);
    this.#models.set(volume, leadsTo);
    if (first === undefined) return;
    assert.notEqual(trouble.kind, "none", `it failed for no reason: ${first === "died" ? first : errorChain(first)}`);
    await this.#settle();
    if (buildUps.includes(call.kind)) {
      // All of it or nothing, also before the retry that could hide what was left.
      const row = modelOf(await this.#world.now.stores.volumes.find(parseVolumeId(volume)));
      await expectWorldIs(this.#world, new Map(this.#models).set(volume, isDeepStrictEqual(row, leadsTo) ? leadsTo : before));
    }
    const again = await this.#make(volume, call);
    assert.equal(again, undefined, `the call made again failed: ${errorChain(again)}`);
  }

  /** Both have the outcome of some order, or the later was refused because the other ran. */
  async #together(volume: WalkVolume, [one, two]: readonly [Call, Call]): Promise<void> {
    const model = this.#models.get(volume);
    const [first, second] = await Promise.all([this.#make(volume, one), this.#make(volume, two)]);
    const orders: readonly (readonly [Call, unknown][])[] = [
      [[one, first], [two, second]],
      [[two, second], [one, first]],
    ];
    const ends = orders.flatMap((order) => {
      let at = model;
      for (const [call, error] of order) {
        const next = after(volume, at, call);
        if (error !== undefined) {
          if (reasonOf(error) !== "aborted" && next !== refused) return [];
        } else if (next === refused) return [];
        else at = next;
      }
      return [{ model: at }];
    });
    // Both orders may explain what was answered; which one it was shows in the row.
    const row = modelOf(await this.#world.now.stores.volumes.find(parseVolumeId(volume)));
    const end = ends.find((one) => isDeepStrictEqual(one.model, row));
    assert.ok(end !== undefined, `no order explains ${explain(first)} and ${explain(second)}`);
    this.#models.set(volume, end.model);
  }

  /** Undefined when it succeeded, else why not. */
  async #make(volume: WalkVolume, call: Call): Promise<unknown> {
    this.calls += 1;
    try {
      await request(this.#world.requests, volume, call);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #arm(trouble: Trouble): Promise<"died"> {
    const { sim, hooks } = this.#world;
    return new Promise((resolve) => {
      const die = (): Promise<never> => {
        this.#world.now.life.end();
        resolve("died");
        return new Promise(() => undefined);
      };
      const dying = (nth: number, when: "before" | "after") => {
        let count = 0;
        return async <T>(work: () => Promise<T>): Promise<T> => {
          count += 1;
          if (count !== nth) return work();
          if (when === "after") await work().catch(() => undefined);
          return die();
        };
      };
      if (trouble.kind === "fault") sim.faults.add({ match: {}, ...trouble });
      if (trouble.kind === "outage") sim.setOnline(trouble.host, false);
      if (trouble.kind === "crash") {
        const around = dying(trouble.nth, trouble.when);
        hooks.command = (_host, work) => around(work);
      }
      if (trouble.kind === "crash-at-write") {
        const around = dying(trouble.nth, trouble.when);
        hooks.journal = (_entry, write) => around(write);
      }
    });
  }

  #disarm(): void {
    const { sim, hooks } = this.#world;
    sim.faults.clear();
    for (const host of ["hst_give", ...walkHosts]) sim.setOnline(host, true);
    Object.assign(hooks, { command: undefined, journal: undefined });
  }

  /** What the control plane does by itself, given time: finish what is open, and repair. */
  async #settle(): Promise<void> {
    const { operations, requests, stores } = this.#world.now;
    await operations.retryUnfinished();
    for (const name of walkVolumes) {
      const id = parseVolumeId(name);
      if ((await stores.volumes.find(id)) === undefined) continue;
      await reconcileVolume(requests, id, walkHosts.map((host) => parseHostId(host)));
    }
  }
}

function explain(error: unknown): string {
  return error === undefined ? "success" : `"${errorChain(error)}"`;
}

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
      return requestConnect(requests, id, hostId);
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
