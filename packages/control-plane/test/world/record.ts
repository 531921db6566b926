import type { FileOperation } from "@zfsilo/command";
import type { LoggedCall } from "@zfsilo/sim-host";
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
  readonly operations: readonly RecordedOperation[];
  readonly journalWrites: number;
  readonly before: WorldPicture;
  /** Comparable with other runs. */
  readonly after: WorldPicture;
}

export interface RecordedOperation {
  readonly op: FileOperation["op"];
  /** Its place among all operations of the run, from 1. */
  readonly nth: number;
  readonly changes: boolean;
  /** Whether its batch changes anything: one that only reads fails as a whole or not at all. */
  readonly batchChanges: boolean;
}

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
  const ran: LoggedCall[] = [];
  world.hooks.command = (host, work) => {
    const answer = work();
    // A call is logged before anything is awaited, so that the latest of its host is this one.
    ran.push(...world.sim.calls(host).latest.slice(-1));
    return answer;
  };
  await example.request(world.requests);
  if (steps.size !== workflow.steps.length) throw new Error(`${example.name} ran only ${[...steps].join(", ")}`);
  return {
    example,
    worlds,
    buildsUp: workflow.direction === "build-up",
    steps: [...steps],
    calls: ran.length,
    operations: operationsOf(ran),
    journalWrites,
    before,
    after: await comparablePicture(world),
  };
}

const changing: readonly FileOperation["op"][] = ["mkdir", "rmdir", "symlink", "unlink", "write"];

function operationsOf(calls: readonly LoggedCall[]): RecordedOperation[] {
  const batches = calls.flatMap((call) => ("operations" in call ? [call.operations] : []));
  const all = batches.flatMap((batch) => {
    const batchChanges = batch.some(({ op }) => changing.includes(op));
    return batch.map(({ op }) => ({ op, changes: changing.includes(op), batchChanges }));
  });
  return all.map((operation, index) => ({ ...operation, nth: index + 1 }));
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
