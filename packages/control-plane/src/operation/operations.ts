import { newId, StorageError, type Logger, type OperationId } from "@zfsilo/lib";
import { isOpen, Runner, type JournalEntry, type RunnerObserver, type Workflow } from "@zfsilo/try";
import type { CommandRecord, OperationStore } from "../store/stores.ts";
import { fingerprint } from "./fingerprint.ts";
import { traced } from "./trace.ts";

export interface Started<C> {
  readonly operation: OperationId;
  readonly context: C;
}

/** Runs one journaled workflow on the claimed subject. */
export type Begin<D> = <C extends object>(workflow: Workflow<C, D>, context: C) => Promise<Started<C>>;

export interface Request {
  /** Resource name that only one operation at a time may work on. */
  readonly subject: string;
  readonly kind: string;
  /** What was asked, without anything made up per call: identical requests have equal ones. */
  readonly input: unknown;
}

interface Claim {
  readonly print: string;
  readonly answer: Promise<unknown>;
  operation: OperationId | undefined;
}

export interface OperationsOptions<D> {
  readonly store: OperationStore;
  readonly deps: D;
  readonly log: Logger;
  readonly observer?: RunnerObserver;
  /** Every workflow that may stand in the journal, by kind. */
  readonly workflows: ReadonlyMap<string, Workflow<never, D>>;
}

export type OperationListener = (entry: JournalEntry) => void;

/**
 * One writer per subject. An identical request joins the one that runs and gets its answer; a different one is refused
 * with its name. The work belongs to the server: a caller that goes away only stops waiting.
 */
export class Operations<D> {
  readonly #options: OperationsOptions<D>;
  readonly #runner: Runner<D>;
  readonly #claims = new Map<string, Claim>();
  /** Operations that are open although nothing runs them: left by a dead process, or stuck. At most one a subject. */
  readonly #unfinished = new Map<string, JournalEntry>();
  readonly #commands = new Map<OperationId, CommandRecord[]>();
  readonly #listeners = new Map<OperationId, Set<OperationListener>>();

  constructor(options: OperationsOptions<D>) {
    this.#options = options;
    this.#runner = new Runner({
      journal: options.store,
      deps: options.deps,
      log: options.log,
      observer: {
        changed: (entry) => {
          this.#changed(entry);
        },
        stepEnded: (entry, step, how) => options.observer?.stepEnded(entry, step, how),
      },
      aroundStep: (entry, step, work) => traced({ step, commands: this.#commandsOf(entry.id) }, work),
    });
  }

  /** Claims the subject, then runs `work`, which checks the ground and begins what workflows it needs, one after another. */
  async submit<R>(request: Request, work: (begin: Begin<D>) => Promise<R>): Promise<R> {
    const print = fingerprint([request.kind, request.input]);
    const running = this.#claims.get(request.subject);
    if (running !== undefined) {
      if (running.print === print) return running.answer as Promise<R>;
      throw inProgress(request, running.operation);
    }
    const claim: { -readonly [K in keyof Claim]: Claim[K] } = { print, answer: Promise.resolve(), operation: undefined };
    this.#claims.set(request.subject, claim);
    const answer = this.#work(request, print, claim, work);
    claim.answer = answer;
    return answer;
  }

  /** Learns what a dead process left. From then on nothing acts on those subjects before their operation is finished. */
  async load(): Promise<void> {
    for (const entry of await this.#options.store.listOpen()) this.#unfinished.set(entry.subject, entry);
  }

  /** Tries to finish everything that is open and runs nowhere, a few at a time. Resolves whether or not that worked. */
  async retryUnfinished(): Promise<void> {
    const subjects = [...this.#unfinished.keys()];
    const worker = async (): Promise<void> => {
      for (let next = subjects.pop(); next !== undefined; next = subjects.pop()) await this.retry(next);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }

  /** Tries once more to finish what is open on the subject. Resolves whether or not that worked. */
  async retry(subject: string): Promise<void> {
    const left = this.#unfinished.get(subject);
    if (left === undefined || this.#claims.has(subject)) return;
    const claim: Claim = { print: left.fingerprint, answer: Promise.resolve(), operation: left.id };
    this.#claims.set(subject, claim);
    try {
      await this.#finish(left);
    } catch (error) {
      this.#options.log.error({ err: error, operation: left.id, subject }, "operation could not be finished yet");
    } finally {
      this.#claims.delete(subject);
    }
  }

  /** The operation that works on the subject now, or was left open on it. */
  openOn(subject: string): OperationId | undefined {
    return this.#claims.get(subject)?.operation ?? this.#unfinished.get(subject)?.id;
  }

  /** Subjects with an open operation that nothing runs. */
  unfinished(): readonly JournalEntry[] {
    return [...this.#unfinished.values()];
  }

  /** Calls `listener` on each change until the returned function is called. */
  subscribe(id: OperationId, listener: OperationListener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  /** Lets each running operation reach a step boundary. */
  async stop(signal: AbortSignal): Promise<void> {
    await this.#runner.stop(signal);
    await Promise.allSettled([...this.#claims.values()].map(({ answer }) => Promise.race([answer, aborted(signal)])));
  }

  async #work<R>(request: Request, print: string, claim: Claim, work: (begin: Begin<D>) => Promise<R>): Promise<R> {
    try {
      await this.#finishBefore(request);
      return await work(async (workflow, context) => {
        const id = newId("operation");
        claim.operation = id;
        try {
          const done = await this.#runner.run(workflow, { id, subject: request.subject, fingerprint: print, context });
          return { operation: id, context: done };
        } finally {
          await this.#keepCommands(id);
        }
      });
    } finally {
      this.#claims.delete(request.subject);
    }
  }

  /** Nothing acts on a subject whose last operation is open: that one is finished first, or the request is refused. */
  async #finishBefore(request: Request): Promise<void> {
    const left = this.#unfinished.get(request.subject);
    if (left === undefined) return;
    try {
      await this.#finish(left);
    } catch (error) {
      throw new StorageError("unavailable", `${request.kind} ${request.subject}: finish operations/${left.id} first`, {
        cause: error,
        details: { operation: `operations/${left.id}` },
        hint: "An earlier operation on it is stuck and is tried again with every call; mend what it reports.",
      });
    }
  }

  async #finish(left: JournalEntry): Promise<void> {
    const workflow = this.#options.workflows.get(left.kind);
    if (workflow === undefined) {
      throw new StorageError("internal", `finish operations/${left.id}: no workflow is called ${left.kind}`);
    }
    this.#options.log.warn({ operation: left.id, kind: left.kind, subject: left.subject }, "finishing an open operation");
    try {
      await this.#runner.recover(workflow, left);
    } finally {
      await this.#keepCommands(left.id);
      if (!isOpen(left.state)) this.#unfinished.delete(left.subject);
    }
  }

  #commandsOf(id: OperationId): CommandRecord[] {
    const known = this.#commands.get(id) ?? [];
    this.#commands.set(id, known);
    return known;
  }

  async #keepCommands(id: OperationId): Promise<void> {
    const commands = this.#commands.get(id);
    this.#commands.delete(id);
    if (commands !== undefined && commands.length > 0) await this.#options.store.addCommands(id, commands);
  }

  #changed(entry: JournalEntry): void {
    if (entry.state === "stuck") this.#unfinished.set(entry.subject, entry);
    this.#options.observer?.changed(entry);
    for (const listener of this.#listeners.get(entry.id) ?? []) listener(entry);
  }
}

function inProgress(request: Request, operation: OperationId | undefined): StorageError {
  const details = operation === undefined ? {} : { operation: `operations/${operation}` };
  return new StorageError("aborted", `${request.kind} ${request.subject}: another operation works on it`, {
    details: { ...details, subject: request.subject },
    hint: "Wait for that operation to end (WatchOperation), then repeat the call.",
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => { resolve(); }, { once: true });
  });
}
