import {
  BugError,
  errorChain,
  reasonOf,
  StorageError,
  wrapError,
  type Backoff,
  type Logger,
  type OperationId,
  pauses,
} from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import { isGivenUp } from "./given-up.ts";
import type { Journal, JournalEntry, OperationFailure, StepRecord } from "./journal.ts";
import type { Step, StepIo, Workflow } from "./workflow.ts";

/** Told about each change, for metrics and watchers. Must not throw. */
export interface RunnerObserver {
  changed(entry: JournalEntry): void;
  stepEnded(entry: JournalEntry, step: StepRecord, how: "done" | "failed" | "undone" | "undo_failed" | "dropped"): void;
}

export interface RunnerOptions<D> {
  readonly journal: Journal;
  readonly deps: D;
  readonly log: Logger;
  readonly observer?: RunnerObserver;
  /** Wraps the execution of one step, so that what it runs on hosts can be attributed to it. */
  readonly aroundStep?: <T>(entry: JournalEntry, step: string, work: () => Promise<T>) => Promise<T>;
  /** How long an undo is tried before the operation is left `stuck`. */
  readonly undoBackoff?: Backoff;
}

export interface RunRequest<C> {
  readonly id: OperationId;
  readonly subject: string;
  readonly holds?: readonly string[];
  readonly fingerprint: string;
  readonly context: C;
}

/** Thrown to the waiting caller when the process stops between two steps. The journal still says `running`. */
export class SuspendedError extends StorageError {
  constructor(id: OperationId) {
    super("unavailable", `operations/${id} was interrupted by a restart of the control plane`, {
      hint: "Repeat the call: the operation is taken up again after the restart.",
      details: { operation: `operations/${id}` },
    });
  }
}

const undoTries: Backoff = { firstMs: 50, maxMs: 1_000, limitMs: 2_000 };

/**
 * Runs workflows step by step. Intent is journaled before a step acts and its result after, the end of one step and the
 * intent of the next in one write. After a crash at any instant the journal names every step that may have acted.
 */
export class Runner<D> {
  readonly #options: RunnerOptions<D>;
  readonly #stop = new AbortController();
  #active = 0;
  #idle: (() => void) | undefined;

  constructor(options: RunnerOptions<D>) {
    this.#options = options;
  }

  /** Runs a workflow to its end. Throws why it failed; by then a build-up has been undone, or is recorded as stuck. */
  async run<C extends object>(workflow: Workflow<C, D>, request: RunRequest<C>): Promise<C> {
    if (this.#stop.signal.aborted) throw new SuspendedError(request.id);
    const entry: JournalEntry = {
      id: request.id,
      kind: workflow.kind,
      direction: workflow.direction,
      subject: request.subject,
      ...(request.holds !== undefined && { holds: request.holds }),
      fingerprint: request.fingerprint,
      context: request.context,
      state: "running",
      steps: workflow.steps.map(({ name }) => ({ name, state: "pending" })),
      createdAt: new Date(),
    };
    return this.#tracked(async () => {
      const first = entry.steps[0];
      if (first !== undefined) begin(first);
      await this.#options.journal.open(entry);
      this.#options.observer?.changed(entry);
      return this.#forward(workflow, entry);
    });
  }

  /** Takes up what a dead process left: build-up is undone, forward is resumed. Throws when it is (still) stuck or fails again. */
  async recover<C extends object>(workflow: Workflow<C, D>, entry: JournalEntry): Promise<void> {
    await this.#tracked(async () => {
      entry.context = workflow.context.parse(entry.context);
      if (workflow.direction === "forward") {
        await this.#forward(workflow, entry);
        return;
      }
      entry.failure ??= { reason: "unavailable", message: "the control plane stopped while this operation ran" };
      await this.#undo(workflow, entry);
    });
  }

  /** Lets running operations reach a step boundary and resolves when none is left running, or when `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stop.abort();
    if (this.#active === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      signal.addEventListener("abort", () => { resolve(); }, { once: true });
    });
  }

  async #forward<C extends object>(workflow: Workflow<C, D>, entry: JournalEntry): Promise<C> {
    for (const [index, step] of workflow.steps.entries()) {
      const record = recordAt(entry, index);
      if (record.state === "done") continue;
      if (record.state !== "running") begin(record);
      try {
        const output = await this.#act(entry, step, (io) => step.do(entry.context as C, io));
        entry.context = { ...entry.context, ...output };
      } catch (error) {
        return await this.#fail(workflow, entry, record, error);
      }
      end(record, "done");
      this.#options.observer?.stepEnded(entry, record, "done");
      const next = entry.steps[index + 1];
      if (next === undefined) {
        entry.state = "succeeded";
        entry.endedAt = new Date();
      } else if (this.#stop.signal.aborted) {
        await this.#save(entry);
        throw new SuspendedError(entry.id);
      } else {
        begin(next);
      }
      await this.#save(entry);
    }
    return entry.context as C;
  }

  async #fail<C extends object>(
    workflow: Workflow<C, D>,
    entry: JournalEntry,
    record: StepRecord,
    error: unknown,
  ): Promise<never> {
    end(record, "failed");
    this.#options.observer?.stepEnded(entry, record, "failed");
    const failure = wrapError(`${entry.kind} ${entry.subject}: ${record.name}`, error, {
      operation: `operations/${entry.id}`,
    });
    entry.failure = describe(failure);
    if (workflow.direction === "forward") {
      entry.state = "failed";
      entry.endedAt = new Date();
      await this.#save(entry);
      throw failure;
    }
    try {
      await this.#undo(workflow, entry);
    } catch (undoError) {
      throw new StorageError(failure.reason, `${failure.message}; and it could not be undone yet`, {
        cause: new AggregateError([failure, undoError], `${errorChain(failure)} / ${errorChain(undoError)}`),
        details: failure.details,
        hint: `The control plane keeps trying to undo it; see operations/${entry.id}.`,
      });
    }
    throw failure;
  }

  async #undo<C extends object>(workflow: Workflow<C, D>, entry: JournalEntry): Promise<void> {
    entry.state = "undoing";
    await this.#save(entry);
    for (const [index, step] of [...workflow.steps.entries()].reverse()) {
      const record = recordAt(entry, index);
      if (["pending", "undone", "dropped"].includes(record.state)) continue;
      let how: "undone" | "dropped";
      try {
        how = await this.#undoStep(entry, step);
      } catch (error) {
        // Earlier steps stay as they are: taking away a record while what it records still exists would leak it.
        end(record, "undo_failed");
        entry.state = "stuck";
        this.#options.observer?.stepEnded(entry, record, "undo_failed");
        this.#options.log.error({ err: error, operation: entry.id, step: step.name }, "undo failed");
        await this.#save(entry);
        throw error;
      }
      end(record, how);
      this.#options.observer?.stepEnded(entry, record, how);
      await this.#save(entry);
    }
    entry.state = "failed";
    entry.endedAt = new Date();
    await this.#save(entry);
  }

  /** Where its place was given up there is nothing to be taken back any more: that is recorded, and the steps before it go on. */
  async #undoStep<C extends object>(entry: JournalEntry, step: Step<C, D>): Promise<"undone" | "dropped"> {
    if (step.undo === undefined) return "undone";
    const undo = step.undo.bind(step);
    this.#options.log.warn({ operation: entry.id, kind: entry.kind, step: step.name }, "undo step");
    const waits = pauses(this.#options.undoBackoff ?? undoTries);
    for (;;) {
      try {
        await this.#act(entry, step, (io) => undo(entry.context as C, io));
        return "undone";
      } catch (error) {
        if (isGivenUp(error)) {
          this.#options.log.warn({ err: error, operation: entry.id, kind: entry.kind, step: step.name }, "undo dropped");
          await this.#act(entry, step, async (io) => step.drop?.(entry.context as C, io));
          return "dropped";
        }
        const wait = waits.next();
        if (wait.done === true) throw error;
        await sleep(wait.value);
      }
    }
  }

  async #act<C extends object, T>(
    entry: JournalEntry,
    step: Step<C, D>,
    work: (io: StepIo<D>) => Promise<T>,
  ): Promise<T> {
    const log = this.#options.log.child({ operation: entry.id, kind: entry.kind, step: step.name });
    // Stopping does not abort a step: it ends at its own timeouts, and the boundary after it is where we stop.
    const io: StepIo<D> = { deps: this.#options.deps, signal: new AbortController().signal, log };
    const around = this.#options.aroundStep ?? ((_entry, _step, inner) => inner());
    return around(entry, step.name, () => work(io));
  }

  async #save(entry: JournalEntry): Promise<void> {
    await this.#options.journal.save(entry);
    this.#options.observer?.changed(entry);
  }

  async #tracked<T>(work: () => Promise<T>): Promise<T> {
    this.#active += 1;
    try {
      return await work();
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#idle?.();
    }
  }
}

function recordAt(entry: JournalEntry, index: number): StepRecord {
  const record = entry.steps[index];
  if (record === undefined) throw new BugError(`operation ${entry.id} has no step ${index}`);
  return record;
}

function begin(record: StepRecord): void {
  record.state = "running";
  record.startedAt = new Date();
}

function end(record: StepRecord, state: StepRecord["state"]): void {
  record.state = state;
  record.endedAt = new Date();
}

function describe(error: StorageError): OperationFailure {
  return {
    reason: reasonOf(error),
    message: errorChain(error),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
}
