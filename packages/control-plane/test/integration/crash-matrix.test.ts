import { describe, expect, it } from "vitest";
import { workflows } from "../../src/workflow/workflows.ts";
import { apiCalls } from "../crash/calls.ts";
import { killDuring, type Instant } from "../crash/child.ts";
import { Turns } from "../crash/turns.ts";
import { cases } from "../world/cases.ts";
import { expectRecovered } from "../world/judge.ts";
import { recordAll } from "../world/record.ts";
import { World } from "../world/world.ts";

/**
 * A process that serves is killed at every instant around every step of every workflow, and another finishes on the same
 * files what it left. The instants within steps, and those of undoing, are those of workflow-failure.
 */
const killed = cases.filter(({ name }) => name in apiCalls);
const recordings = await recordAll(killed);
const turns = new Turns(2);

it("covers every workflow", () => {
  expect(killed.map(({ name }) => name).sort()).toEqual(Object.keys(apiCalls).sort());
  // Deleting an orphan is about no volume: orphans.test.ts.
  expect([...new Set(killed.map(({ kind }) => kind)), "orphan.delete"].sort()).toEqual([...workflows.keys()].sort());
});

describe.concurrent.each(recordings.map((recording) => [recording.example.name, recording] as const))("%s", (name, recording) => {
  const writes = Array.from({ length: recording.journalWrites }, (_, index) => index + 1);
  const instants: Instant[] = writes.flatMap((write) => [{ when: "before", write }, { when: "after", write }]);

  it.each(instants)("killed $when journal write $write", ({ when, write }) =>
    turns.run(async () => {
      const prepared = await recording.worlds.open();
      await prepared.close();
      await killDuring(prepared.directory, apiCalls[name]!, { when, write });
      await using world = await World.open(prepared.directory);
      await prepared.remove();
      await world.now.operations.retryUnfinished();
      await expectRecovered(recording, world);
    }),
  );
});
