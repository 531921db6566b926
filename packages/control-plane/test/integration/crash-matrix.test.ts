import { rm } from "node:fs/promises";
import { afterAll, describe, expect, it } from "vitest";
import { workflows } from "../../src/workflow/workflows.ts";
import { bundle } from "../crash/bundle.ts";
import { apiCalls } from "../crash/calls.ts";
import { ask, Children, finish, killDuring, serveProgram, type Instant } from "../crash/child.ts";
import { Turns } from "../crash/turns.ts";
import { cases } from "../world/cases.ts";
import { expectArrived, expectDoneOrUndone } from "../world/judge.ts";
import { formattingOf } from "../world/picture.ts";
import { recordAll, type Recording } from "../world/record.ts";
import { World } from "../world/world.ts";

/**
 * A process that serves is killed at every instant around every step of every workflow. Another process, which has not seen
 * these files before, finishes what it left and answers the call that is made again. This one only looks at the files in
 * between. The instants within steps, and those of undoing, are those of workflow-failure.
 */
const killed = cases.filter(({ name }) => name in apiCalls);
const recordings = await recordAll(killed);
const turns = new Turns(2);
const program = await bundle(serveProgram);
const children = new Children(program);
afterAll(async () => {
  await children.end();
  await rm(program);
});

it("covers every workflow", () => {
  expect(killed.map(({ name }) => name).sort()).toEqual(Object.keys(apiCalls).sort());
  // Deleting an orphan is about no volume: orphans.test.ts.
  expect([...new Set(killed.map(({ kind }) => kind)), "orphan.delete"].sort()).toEqual([...workflows.keys()].sort());
});

describe.concurrent.each(recordings.map((recording) => [recording.example.name, recording] as const))("%s", (name, recording) => {
  const writes = Array.from({ length: recording.journalWrites }, (_, index) => index + 1);
  const instants: Instant[] = writes.flatMap((write) => [{ when: "before", write }, { when: "after", write }]);

  it.each(instants)("killed $when journal write $write", (instant) => turns.run(() => cell(name, recording, instant)));
});

async function cell(name: string, recording: Recording, instant: Instant): Promise<void> {
  const prepared = await recording.worlds.open();
  const known = apiCalls[name]!;
  const call = typeof known === "function" ? await known(prepared) : known;
  await prepared.close();
  const { directory } = prepared;
  await killDuring(children.take(), directory, call, instant);

  const other = children.take();
  await finish(other, directory);
  const formatted = await lookAt(directory, async (world) => {
    await expectDoneOrUndone(recording, world);
    return recording.example.kind === "volume.stage" && (await formattingOf(world)).made !== undefined;
  });
  const answer = await ask(await other.serve(directory), call);
  expect(answer, JSON.stringify(answer?.body)).toMatchObject({ status: 200 });
  const { formats } = await other.stop();
  if (formatted) expect(formats).toBe(0);
  await lookAt(directory, (world) => expectArrived(recording, world));
  children.giveBack(other);
  await prepared.remove();
}

/** At a copy: looking leaves no trace. */
async function lookAt<T>(directory: string, look: (world: World) => Promise<T>): Promise<T> {
  await using world = await World.open(directory);
  return await look(world);
}
