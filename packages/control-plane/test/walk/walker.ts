import { errorChain, reasonOf } from "@zfsilo/lib";
import type { FaultEffect } from "@zfsilo/sim-host";
import assert from "node:assert/strict";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import type { World } from "../world/world.ts";

export const machines = ["hst_give", "hst_take", "hst_tap"] as const;
export type MachineName = (typeof machines)[number];

/** What goes wrong while a call runs. `nth` counts what the hosts are asked, commands and batches alike. */
export type Trouble =
  | { readonly kind: "none" }
  | { readonly kind: "fault"; readonly nth: number; readonly times: number; readonly effect: FaultEffect }
  | { readonly kind: "crash"; readonly nth: number; readonly when: "before" | "after" }
  | { readonly kind: "crash-at-write"; readonly nth: number; readonly when: "before" | "after" }
  | { readonly kind: "outage"; readonly host: MachineName }
  /** With its nth command an initiator answers nothing any more, until what the call is about is forced off it. */
  | { readonly kind: "death"; readonly host: Exclude<MachineName, "hst_give">; readonly nth: number };

type Death = Extract<Trouble, { readonly kind: "death" }>;

export const refused = Symbol("refused");

/** What is walked on: calls, a model of what they do, and how the world is compared with it. Models and pictures are plain data. */
export interface Terrain<Call, Model> {
  /** Where a call leads, or that it must be refused and change nothing. */
  after(model: Model, call: Call): Model | typeof refused;
  request(requests: RequestDeps, call: Call): Promise<unknown>;
  /** Whether a call that fails leaves nothing of it. */
  buildsUp(call: Call): boolean;
  /** The call that takes what this one is about from an initiator by force. Undefined where there is none. */
  force?(call: Call, host: Death["host"]): Call;
  /** What records tell of the model, and what they must tell. */
  read(world: World): Promise<unknown>;
  picture(model: Model): unknown;
  /** Records and hosts are as the model, and there is nothing besides. */
  expect(world: World, model: Model): Promise<void>;
  /** What the control plane does by itself, given time: finish what is open, and repair. */
  settle(world: World): Promise<void>;
}

/** Makes calls, with trouble and beside each other, and holds what comes of them against the model. */
export class Walker<Call, Model> {
  calls = 0;
  model: Model;
  readonly #world: World;
  readonly #terrain: Terrain<Call, Model>;

  constructor(world: World, terrain: Terrain<Call, Model>, model: Model) {
    this.#world = world;
    this.#terrain = terrain;
    this.model = model;
  }

  async settle(): Promise<void> {
    await this.#terrain.settle(this.#world);
    await this.#terrain.expect(this.#world, this.model);
  }

  async call(call: Call, trouble: Trouble): Promise<void> {
    if (trouble.kind === "death") return this.#callAndDie(call, trouble);
    const before = this.model;
    const leadsTo = this.#terrain.after(before, call);
    const died = this.#arm(trouble);
    const outcome = this.#make(call);
    const first = await Promise.race([outcome, died]);
    this.#disarm();
    if (first === "died") await this.#world.crash();
    if (leadsTo === refused) {
      assert.notEqual(first, undefined, "it must be refused");
      return;
    }
    this.model = leadsTo;
    if (first === undefined) return;
    assert.notEqual(trouble.kind, "none", `it failed for no reason: ${first === "died" ? first : errorChain(first)}`);
    await this.#terrain.settle(this.#world);
    if (this.#terrain.buildsUp(call)) {
      // All of it or nothing, also before the retry that could hide what was left.
      const isThere = isDeepStrictEqual(await this.#terrain.read(this.#world), this.#terrain.picture(leadsTo));
      await this.#terrain.expect(this.#world, isThere ? leadsTo : before);
    }
    const again = await this.#make(call);
    assert.equal(again, undefined, `the call made again failed: ${errorChain(again)}`);
  }

  /** Force is answered at once, whatever was open; when the machine is back, the call has been made or not, and force after it. */
  async #callAndDie(call: Call, death: Death): Promise<void> {
    const force = this.#terrain.force?.(call, death.host);
    assert.ok(force !== undefined, "nothing is forced off initiators here");
    const hanging = this.#dieAt(death);
    const outcome = this.#make(call);
    await Promise.race([outcome, hanging]);
    this.#world.hooks.command = undefined;
    const forced = await Promise.race([this.#make(force), sleep(8_000, "it took longer than 8 s", { ref: false })]);
    await outcome;
    this.#disarm();
    await this.#terrain.settle(this.#world);
    const found = await this.#terrain.read(this.#world);
    const made = this.#terrain.after(this.model, call);
    const starts: readonly (Model | typeof refused)[] = [this.model, made];
    const ends = starts.flatMap((start) => {
      const end = this.#forced(start, force, forced !== undefined);
      return end !== refused && isDeepStrictEqual(this.#terrain.picture(end), found) ? [{ end }] : [];
    });
    assert.ok(ends[0] !== undefined, `nothing explains what is recorded after force was answered with ${explain(forced)}`);
    this.model = ends[0].end;
  }

  /** Where force leads from there, or that this does not explain its answer. */
  #forced(before: Model | typeof refused, force: Call, isRefused: boolean): Model | typeof refused {
    if (before === refused) return refused;
    const after = this.#terrain.after(before, force);
    if (after === refused) return isRefused ? before : refused;
    return isRefused ? refused : after;
  }

  /** Resolves when the machine has died. The command that it died with hangs. */
  #dieAt({ host, nth }: Death): Promise<void> {
    const { sim, hooks } = this.#world;
    let count = 0;
    return new Promise((resolve) => {
      hooks.command = async (on, work) => {
        if (on === host) count += 1;
        if (on !== host || count !== nth) return work();
        sim.faults.add({ host, match: {}, effect: { kind: "hang" } });
        const answer = work();
        for (let turns = 0; turns < 5; turns += 1) await turn();
        sim.setOnline(host, false);
        resolve();
        return answer;
      };
    });
  }

  /** Both have the outcome of some order, or the later was refused because the other ran. */
  async together([one, two]: readonly [Call, Call]): Promise<void> {
    const [first, second] = await Promise.all([this.#make(one), this.#make(two)]);
    const orders: readonly (readonly [Call, unknown][])[] = [
      [[one, first], [two, second]],
      [[two, second], [one, first]],
    ];
    const ends = orders.flatMap((order) => {
      let at = this.model;
      for (const [call, error] of order) {
        const next = this.#terrain.after(at, call);
        if (error !== undefined) {
          if (reasonOf(error) !== "aborted" && next !== refused) return [];
        } else if (next === refused) return [];
        else at = next;
      }
      return [{ model: at }];
    });
    // Both orders may explain what was answered; which one it was shows in the records.
    const found = await this.#terrain.read(this.#world);
    const end = ends.find(({ model }) => isDeepStrictEqual(this.#terrain.picture(model), found));
    assert.ok(end !== undefined, `no order explains ${explain(first)} and ${explain(second)}`);
    this.model = end.model;
  }

  /** Undefined when it succeeded, else why not. */
  async #make(call: Call): Promise<unknown> {
    this.calls += 1;
    try {
      await this.#terrain.request(this.#world.requests, call);
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
    for (const host of machines) sim.setOnline(host, true);
    Object.assign(hooks, { command: undefined, journal: undefined });
  }
}

function explain(error: unknown): string {
  return error === undefined ? "success" : `"${errorChain(error)}"`;
}
