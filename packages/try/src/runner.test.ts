import { createLogger, newId, StorageError } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { GivenUpError, requireAllDone } from "./given-up.ts";
import { MemoryJournal, type JournalEntry } from "./journal.ts";
import { Runner, SuspendedError } from "./runner.ts";
import { buildUp, forward, type Step, type Workflow } from "./workflow.ts";

interface World {
  readonly things: Set<string>;
  readonly log: string[];
}
interface Context {
  readonly name: string;
  readonly made?: string | undefined;
}
const schema = z.object({ name: z.string(), made: z.string().optional() });
const names = ["first", "second", "third"] as const;

/** Each step makes one thing in the world; its undo takes it away, and "already gone" is fine. */
function step(name: string, options: { failAfterEffect?: boolean; failBefore?: boolean; undoFails?: number } = {}): Step<Context, World> {
  let undoFails = options.undoFails ?? 0;
  return {
    name,
    do(_context, { deps }) {
      if (options.failBefore === true) throw new StorageError("no_space", `make ${name}`);
      deps.things.add(name);
      deps.log.push(`do ${name}`);
      if (options.failAfterEffect === true) throw new StorageError("unavailable", `answer for ${name} lost`);
      return Promise.resolve({ made: name });
    },
    undo(_context, { deps }) {
      if (undoFails > 0) {
        undoFails -= 1;
        throw new StorageError("busy", `take ${name} away`);
      }
      deps.things.delete(name);
      deps.log.push(`undo ${name}`);
      return Promise.resolve();
    },
  };
}

function setUp(limitMs = 40) {
  const world: World = { things: new Set(), log: [] };
  const journal = new MemoryJournal();
  const log = createLogger("silent");
  const undoBackoff = { firstMs: 1, maxMs: 5, limitMs };
  const newRunner = () => new Runner({ journal, deps: world, log, undoBackoff });
  const request = (id = newId("operation")) => ({ id, subject: "volumes/v", fingerprint: "f", context: { name: "v" } });
  return { world, journal, newRunner, request };
}

describe("a build-up workflow", () => {
  it("runs every step in order and hands outputs on", async () => {
    const { world, journal, newRunner, request } = setUp();
    const asked = request();
    const done = await newRunner().run(buildUp("t", schema, names.map((name) => step(name))), asked);
    expect(done).toEqual({ name: "v", made: "third" });
    expect([...world.things]).toEqual([...names]);
    expect(journal.find(asked.id)).toMatchObject({ state: "succeeded", steps: names.map((name) => ({ name, state: "done" })) });
  });

  const failures = names.flatMap((name) => [
    { name, how: { failBefore: true } },
    { name, how: { failAfterEffect: true } },
  ]);
  it.each(failures)("failing at $name ($how) leaves nothing and keeps the reason", async ({ name, how }) => {
    const { world, journal, newRunner, request } = setUp();
    const asked = request();
    const workflow = buildUp("t", schema, names.map((each) => step(each, each === name ? how : {})));
    const reason = "failBefore" in how ? "no_space" : "unavailable";
    await expect(newRunner().run(workflow, asked)).rejects.toMatchObject({ reason, details: { operation: `operations/${asked.id}` } });
    expect([...world.things]).toEqual([]);
    expect(journal.find(asked.id)).toMatchObject({ state: "failed", failure: { reason } });
  });

  it("undoes in reverse order", async () => {
    const { world, newRunner, request } = setUp();
    const workflow = buildUp("t", schema, [step("first"), step("second"), step("third", { failBefore: true })]);
    await expect(newRunner().run(workflow, request())).rejects.toThrow();
    expect(world.log).toEqual(["do first", "do second", "undo third", "undo second", "undo first"]);
  });

  it("repeats an undo that fails for a while", async () => {
    const { world, newRunner, request } = setUp();
    const workflow = buildUp("t", schema, [step("first", { undoFails: 2 }), step("second", { failBefore: true })]);
    await expect(newRunner().run(workflow, request())).rejects.toMatchObject({ reason: "no_space" });
    expect([...world.things]).toEqual([]);
  });

  it("is stuck when an undo keeps failing, keeps what stands before it, and can be finished later", async () => {
    const { world, journal, newRunner, request } = setUp();
    const asked = request();
    const steps = [step("first"), step("second", { undoFails: 20 }), step("third", { failBefore: true })];
    const workflow = buildUp("t", schema, steps);
    await expect(newRunner().run(workflow, asked)).rejects.toMatchObject({ reason: "no_space", message: expect.stringContaining("could not be undone yet") });
    expect([...world.things]).toEqual(["first", "second"]);
    const [left] = await journal.listOpen();
    expect(left).toMatchObject({ state: "stuck", steps: [{ state: "done" }, { state: "undo_failed" }, { state: "undone" }] });

    await newRunner().recover(buildUp("t", schema, names.map((name) => step(name))), left!);
    expect([...world.things]).toEqual([]);
    expect(journal.find(asked.id)).toMatchObject({ state: "failed", failure: { reason: "no_space" } });
  });
});

/** A journal whose process dies at the n-th write: everything after it throws, as nothing runs after SIGKILL. */
function dyingAt(write: number, journal: MemoryJournal) {
  let writes = 0;
  const guard = (work: () => Promise<void>) => {
    writes += 1;
    if (writes > write) return Promise.reject(new Error("process is dead"));
    return work();
  };
  return {
    open: (entry: JournalEntry) => guard(() => journal.open(entry)),
    save: (entry: JournalEntry) => guard(() => journal.save(entry)),
    listOpen: () => journal.listOpen(),
  };
}

describe.each([1, 2, 3])("after a crash at journal write %i", (write) => {
  async function crash(workflow: Workflow<Context, World>) {
    const { world, journal, newRunner, request } = setUp();
    const dying = new Runner({ journal: dyingAt(write, journal), deps: world, log: createLogger("silent") });
    await expect(dying.run(workflow, request())).rejects.toThrow("process is dead");
    const [left] = await journal.listOpen();
    return { world, journal, newRunner, left: left! };
  }

  it("a build-up is undone", async () => {
    const workflow = buildUp("t", schema, names.map((name) => step(name)));
    const { world, journal, newRunner, left } = await crash(workflow);
    expect(world.things.size).toBe(write);
    await newRunner().recover(workflow, left);
    expect([...world.things]).toEqual([]);
    expect(await journal.listOpen()).toEqual([]);
  });

  it("a forward workflow is resumed where it was", async () => {
    const workflow = forward("t", schema, names.map((name) => step(name)));
    const { world, journal, newRunner, left } = await crash(workflow);
    await newRunner().recover(workflow, left);
    expect([...world.things]).toEqual([...names]);
    expect(journal.find(left.id)).toMatchObject({ state: "succeeded", context: { made: "third" } });
  });
});

describe("stopping", () => {
  it("lets the running step end, journals the boundary, and refuses new work", async () => {
    const { world, journal, newRunner, request } = setUp();
    const runner = newRunner();
    const asked = request();
    let stopped: Promise<void> | undefined;
    const workflow = forward<Context, World>("t", schema, [
      {
        name: "first",
        do(_context, { deps }) {
          stopped = runner.stop(new AbortController().signal);
          deps.things.add("first");
          return Promise.resolve(undefined);
        },
      },
      step("second"),
    ]);
    await expect(runner.run(workflow, asked)).rejects.toBeInstanceOf(SuspendedError);
    await stopped;
    expect([...world.things]).toEqual(["first"]);
    expect(journal.find(asked.id)).toMatchObject({ state: "running", steps: [{ state: "done" }, { state: "pending" }] });
    await expect(runner.run(workflow, request())).rejects.toBeInstanceOf(SuspendedError);
  });
});

describe("an undo whose place was given up", () => {
  it("is dropped and recorded; the steps before it are undone, and a crash repeats neither", async () => {
    const { world, journal, newRunner, request } = setUp();
    const asked = request();
    const dropped: string[] = [];
    const gone: Step<Context, World> = {
      name: "second",
      do(_context, { deps }) {
        deps.things.add("second");
        return Promise.resolve(undefined);
      },
      undo: () => Promise.reject(new StorageError("unavailable", "undo", { cause: new GivenUpError("hosts/a") })),
      drop: () => {
        dropped.push("second");
        return Promise.resolve();
      },
    };
    const workflow = buildUp("t", schema, [step("first"), gone, step("third", { failAfterEffect: true })]);
    await expect(newRunner().run(workflow, asked)).rejects.toMatchObject({ reason: "unavailable" });
    expect([...world.things]).toEqual(["second"]);
    expect(journal.find(asked.id)).toMatchObject({ state: "failed", steps: [{ state: "undone" }, { state: "dropped" }, { state: "undone" }] });
    expect(dropped).toEqual(["second"]);
    await newRunner().recover(workflow, { ...journal.find(asked.id)!, state: "undoing" });
    expect(dropped).toEqual(["second"]);
  });

  it("matters less than any other failure beside it", () => {
    const given = new GivenUpError("hosts/a");
    const other = new StorageError("internal", "destroy");
    const outcomes = [given, other].map((reason) => ({ status: "rejected", reason }) as const);
    expect(() => { requireAllDone(outcomes); }).toThrow(other);
    expect(() => { requireAllDone(outcomes.slice(0, 1)); }).toThrow(given);
    requireAllDone([{ status: "fulfilled", value: 1 }]);
  });
});

describe("a forward workflow that fails", () => {
  it("undoes nothing and can be asked for again", async () => {
    const { world, journal, newRunner, request } = setUp();
    const asked = request();
    const workflow = forward("t", schema, [step("first"), step("second", { failAfterEffect: true })]);
    await expect(newRunner().run(workflow, asked)).rejects.toMatchObject({ reason: "unavailable" });
    expect([...world.things]).toEqual(["first", "second"]);
    expect(journal.find(asked.id)).toMatchObject({ state: "failed" });
  });
});
