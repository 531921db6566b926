import { StorageError, type OperationId } from "@zfsilo/lib";
import type { FaultEffect } from "@zfsilo/sim-host";
import { describe, expect, it } from "vitest";
import type { Case } from "./cases.ts";
import { attempt, currentVolume, expectArrived, expectAsBefore, expectNothingHalfDone, expectRecovered, expectRetryArrives } from "./judge.ts";
import { recordAll, type Recording } from "./record.ts";
import type { Hooks, World } from "./world.ts";

/** Whatever fails, the world is as it was (build-up), or the call made again arrives (forward). */
export async function describeFailures(cases: readonly Case[]): Promise<void> {
  const recordings = await recordAll(cases);
  describe.each(recordings.map((recording) => [recording.example.name, recording] as const))("%s", (_name, recording) => {
    describeSteps(recording);
    describeHosts(recording);
    describeJournal(recording);
    describeCrashes(recording);
    describeRepetition(recording);
    describeCompany(recording);
  });
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

function describeSteps(recording: Recording): void {
  describe.each(recording.steps)("step %s", (name) => {
    it("fails before its effect", async () => {
      await using world = await recording.worlds.open();
      world.hooks.step = (entry, step, work) => {
        if (step === name && entry.state === "running") throw new StorageError("no_space", "as the test wants it");
        return work();
      };
      await expect(recording.example.request(world.requests)).rejects.toMatchObject({ reason: "no_space" });
      world.hooks.step = undefined;
      await expectNothingHalfDone(recording, world, "failed");
    });

    it("fails after its effect", async () => {
      await using world = await recording.worlds.open();
      failAfter(world.hooks, name);
      await expect(recording.example.request(world.requests)).rejects.toMatchObject({ reason: "unavailable" });
      world.hooks.step = undefined;
      await expectNothingHalfDone(recording, world, "failed");
    });
  });
}

function failAfter(hooks: Hooks, name: string): void {
  hooks.step = async (entry, step, work) => {
    const done = await work();
    if (step === name && entry.state === "running") throw new StorageError("unavailable", `the answer of "${step}" was lost`);
    return done;
  };
}

function describeHosts(recording: Recording): void {
  const strike = async (fault: Parameters<World["sim"]["faults"]["add"]>[0]): Promise<void> => {
    await using world = await recording.worlds.open();
    world.sim.faults.add(fault);
    await expectNothingHalfDone(recording, world, await attempt(recording, world));
  };
  const calls = upTo(recording.calls);
  const effects: readonly FaultEffect[] = [{ kind: "fail" }, { kind: "drop-before" }];
  for (const effect of effects) {
    it.each(calls)(`${effect.kind} strikes host command %i`, (nth) => strike({ match: {}, nth, effect }));
  }
  it.each(calls)("lost answers: the connection drops after host command %i took effect", (nth) =>
    strike({ match: {}, nth, effect: { kind: "drop-after" } }),
  );
  const operations = recording.operations.filter(({ batchChanges }) => batchChanges);
  it.each(operations)("file operation $nth ($op) fails", ({ nth }) =>
    strike({ match: { pathIncludes: "/" }, nth, effect: { kind: "fail" } }),
  );
  it.each(operations.filter(({ changes }) => changes))("the connection drops before file operation $nth ($op)", ({ nth }) =>
    strike({ match: { pathIncludes: "/" }, nth, effect: { kind: "drop-before" } }),
  );
  it.each(calls)("no host answers from command %i on, then all do", async (nth) => {
    await using world = await recording.worlds.open();
    world.sim.faults.add({ match: {}, nth, times: Number.POSITIVE_INFINITY, effect: { kind: "drop-before" } });
    const outcome = await attempt(recording, world);
    world.sim.faults.clear();
    await world.now.operations.retryUnfinished();
    await expectNothingHalfDone(recording, world, outcome);
  });
}

function describeJournal(recording: Recording): void {
  it.each(upTo(recording.journalWrites))("the journal fails at write %i", async (nth) => {
    await using world = await recording.worlds.open();
    let writes = 0;
    world.hooks.journal = (_entry, write) => {
      writes += 1;
      return writes === nth ? Promise.reject(new Error("database or disk is full")) : write();
    };
    const outcome = await attempt(recording, world);
    await world.now.operations.retryUnfinished();
    await expectNothingHalfDone(recording, world, outcome);
  });
}

/** The process ends at an instant and another starts on what it left: in this process, so that every instant can have its turn. */
function describeCrashes(recording: Recording): void {
  const { example } = recording;
  type Die = () => Promise<never>;

  const crashing = async (arrange: (world: World, die: Die) => void): Promise<void> => {
    await using world = await recording.worlds.open();
    let died: (() => void) | undefined;
    const death = new Promise<void>((resolve) => {
      died = resolve;
    });
    arrange(world, () => {
      world.now.life.end();
      died?.();
      return new Promise(() => undefined);
    });
    await Promise.race([death, attempt(recording, world)]);
    Object.assign(world.hooks, { step: undefined, journal: undefined, command: undefined });
    await world.crash();
    await world.now.operations.retryUnfinished();
    await expectRecovered(recording, world);
  };

  /** Dies before or after the n-th time that something is done. */
  const atNth = (nth: number, when: "before" | "after", die: Die) => {
    let count = 0;
    return async <T>(work: () => Promise<T>): Promise<T> => {
      count += 1;
      if (count !== nth) return work();
      if (when === "before") return die();
      await work();
      return die();
    };
  };

  describe.each(["before", "after"] as const)("the process dies %s", (when) => {
    it.each(upTo(recording.journalWrites))("journal write %i", (nth) =>
      crashing((world, die) => {
        const around = atNth(nth, when, die);
        world.hooks.journal = (_entry, write) => around(write);
      }),
    );

    it.each(upTo(recording.calls))("host command %i", (nth) =>
      crashing((world, die) => {
        const around = atNth(nth, when, die);
        world.hooks.command = (_host, work) => around(work);
      }),
    );

    const undone = recording.buildsUp ? recording.steps : [];
    it.each(undone)('the undo of "%s"', (name) =>
      crashing((world, die) => {
        const around = atNth(1, when, die);
        world.hooks.step = async (entry, step, work) => {
          if (entry.state === "undoing") return step === name ? around(work) : work();
          const done = await work();
          if (entry.kind === example.kind && step === recording.steps.at(-1)) throw new StorageError("unavailable", "as the test wants it");
          return done;
        };
      }),
    );
  });
}

function describeRepetition(recording: Recording): void {
  it("answers the same when asked again", async () => {
    await using world = await recording.worlds.open();
    await recording.example.request(world.requests);
    const volume = await currentVolume(world);
    await recording.example.request(world.requests);
    expect(await currentVolume(world)).toEqual(volume);
    await expectArrived(recording, world);
  });

  if (recording.buildsUp) it("undoes each step twice without harm", async () => {
    await using world = await recording.worlds.open();
    world.hooks.step = async (entry, step, work) => {
      const done = await work();
      if (entry.state === "undoing") return work();
      if (step === recording.steps.at(-1)) throw new StorageError("unavailable", "as the test wants it");
      return done;
    };
    expect(await attempt(recording, world)).toBe("failed");
    world.hooks.step = undefined;
    await expectAsBefore(recording, world);
    await expectRetryArrives(recording, world);
  });

  it("does each step twice without harm", async () => {
    await using world = await recording.worlds.open();
    world.hooks.step = async (_entry, _step, work) => {
      await work();
      return work();
    };
    await recording.example.request(world.requests);
    await expectArrived(recording, world);
  });
}

function describeCompany(recording: Recording): void {
  const { example } = recording;

  it("is joined by an identical call", async () => {
    await using world = await recording.worlds.open();
    const earlier = await operationsOf(world, example);
    const [first, second] = await Promise.all([example.request(world.requests), example.request(world.requests)]);
    expect(second).toEqual(first);
    await expectArrived(recording, world);
    expect(await operationsOf(world, example)).toHaveLength(earlier.length + 1);
  });

  it("refuses a different call with its name while it runs", async () => {
    await using world = await recording.worlds.open();
    let different: Promise<unknown> | undefined;
    world.hooks.step = (_entry, _step, work) => {
      different ??= example.different(world.requests).catch((error: unknown) => error);
      return work();
    };
    await example.request(world.requests);
    const [operation] = await operationsOf(world, example);
    expect(await different).toMatchObject({ reason: "aborted", details: { operation: `operations/${operation ?? ""}` } });
    await expectArrived(recording, world);
  });

  it("makes a different call wait while it looks at what there is", async () => {
    await using world = await recording.worlds.open();
    const first = example.request(world.requests);
    const answers = await Promise.allSettled([first, example.different(world.requests)]);
    for (const answer of answers) {
      if (answer.status === "fulfilled") continue;
      expect(answer.reason).toMatchObject({ reason: "aborted", details: { operation: expect.stringMatching(/^operations\/op_/) } });
    }
    expect(await world.now.stores.operations.listOpen()).toEqual([]);
  });
}

/** Newest first. */
async function operationsOf(world: World, { kind }: Case): Promise<OperationId[]> {
  const filter = `kind = "${kind}"`;
  const { items } = await world.now.stores.operations.list({ pageSize: 10, pageToken: "", filter, orderBy: "" });
  return items.map(({ id }) => id);
}
