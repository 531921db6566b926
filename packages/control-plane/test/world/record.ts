import type { FileOperation } from "@zfsilo/command";
import { afterAll } from "vitest";
import { statusOf, type VolumeRecord } from "../../src/store/model.ts";
import { workflows } from "../../src/workflow/workflows.ts";
import type { Case } from "./cases.ts";
import { subject, Worlds } from "./ladder.ts";
import { comparablePicture, pictureOf, type WorldPicture } from "./picture.ts";
import type { World } from "./world.ts";

/** What one undisturbed run of a case showed. */
export interface Recording {
  readonly example: Case;
  readonly worlds: Worlds;
  readonly buildsUp: boolean;
  readonly steps: readonly string[];
  /** Commands and batches that it ran on hosts, and single operations within the batches. */
  readonly calls: number;
  readonly operations: readonly FileOperation["op"][];
  readonly journalWrites: number;
  readonly before: WorldPicture;
  /** Comparable with other runs. */
  readonly after: WorldPicture;
}

const hosts = ["hst_give", "hst_take", "hst_tap"] as const;

export async function record(example: Case): Promise<Recording> {
  const worlds = new Worlds(example.ground);
  await using world = await worlds.open();
  const workflow = workflows.get(example.kind);
  if (workflow === undefined) throw new Error(`no workflow is called ${example.kind}`);
  let journalWrites = 0;
  const steps = new Set<string>();
  world.hooks.journal = (_entry, write) => {
    journalWrites += 1;
    return write();
  };
  world.hooks.step = (entry, step, work) => {
    if (entry.kind !== example.kind) throw new Error(`${example.name} runs ${entry.kind}`);
    steps.add(step);
    return work();
  };
  const before = await pictureOf(world);
  const calls = hosts.map((host) => world.sim.calls(host).count);
  const logged = hosts.map((host) => world.sim.calls(host).latest.length);
  await example.request(world.requests);
  const ran = hosts.map((host, index) => world.sim.calls(host).count - (calls[index] ?? 0));
  const operations = hosts.flatMap((host, index) =>
    world.sim.calls(host).latest.slice(logged[index]).flatMap((call) => ("operations" in call ? call.operations : [])),
  );
  if (steps.size !== workflow.steps.length) throw new Error(`${example.name} ran only ${[...steps].join(", ")}`);
  return {
    example,
    worlds,
    buildsUp: workflow.direction === "build-up",
    steps: [...steps],
    calls: ran.reduce((sum, count) => sum + count, 0),
    operations: operations.map(({ op }) => op),
    journalWrites,
    before,
    after: await comparablePicture(world),
  };
}

/** Recordings of some cases, whose worlds are removed with the test file. To be awaited while tests are collected. */
export async function recordAll(examples: readonly Case[]): Promise<readonly Recording[]> {
  const recordings: Recording[] = [];
  for (const example of examples) recordings.push(await record(example));
  afterAll(async () => {
    for (const { worlds } of recordings) await worlds[Symbol.asyncDispose]();
  });
  return recordings;
}

export async function statusIn(world: World): Promise<string> {
  const volume: VolumeRecord | undefined = await world.now.stores.volumes.find(subject);
  return volume === undefined ? "absent" : statusOf(volume);
}
