import { newId, StorageError, type Backoff, type Logger, type OperationId } from "@zfsilo/lib";
import { isOpen, Runner, type JournalEntry, type OperationState, type RunnerObserver, type Workflow } from "@zfsilo/try";
import type { CommandRecord, OperationStore } from "../store/stores.ts";
import { fingerprint } from "./fingerprint.ts";
import { traced } from "./trace.ts";

export interface Started<C> {
  readonly operation: OperationId;
  readonly context: C;
}

/** Runs one journaled workflow on the claimed subject. */
export type Begin<D> = <C extends object>(workflow: Workflow<C, D>, context: C) => Promise<Started<C>>;

/** An operation of an earlier request that was identical to this one. */
export interface Earlier {
  readonly id: OperationId;
  readonly state: OperationState;
}

/**
 * Finds what an identical request left, when that has ended a short while ago and is the last thing that was done to the
 * subject: then this request repeats that one, and gets its answer. Read from the journal, so that it survives a restart.
 */
export type FindEarlier = () => Promise<Earlier | undefined>;

export interface Request {
  /** Resource name that only one operation at a time may work on. */
  readonly subject: string;
  readonly kind: string;
  /** What was asked, without anything made up per call: identical requests have equal ones. */
  readonly input: unknown;
}

interface Claim {
  readonly print: string;
  answer: Promise<unknown>;
  /** It finishes what an earlier request began, and its answer is that request's and nobody's. */
  readonly recovers: boolean;
  operation: OperationId | undefined;
  /** Resolves when the claim has an operation, or ends without having needed one. */
  readonly decided: Promise<void>;
  decide(): void;
}

/** An operation that is open, or may be, and that nothing runs. */
export type Unfinished = Pick<JournalEntry, "id" | "kind" | "subject" | "fingerprint">;

export interface OperationsOptions<D> {
  readonly store: OperationStore;
  readonly deps: D;
  readonly log: Logger;
  readonly observer?: RunnerObserver;
  /** Every workflow that may stand in the journal, by kind. */
  readonly workflows: ReadonlyMap<string, Workflow<never, D>>;
  /** How long an undo is tried before its operation is left stuck; default that of the runner. */
  readonly undoBackoff?: Backoff;
  /** Around each `do` and `undo`, for tests of what a failure or a crash there leaves. */
  readonly aroundStep?: <T>(entry: JournalEntry, step: string, work: () => Promise<T>) => Promise<T>;
}

/** How long a request that is repeated gets the first one's answer although what it asked for can be done but once. */
export const answersKeptMs = 600_000;

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
  readonly #unfinished = new Map<string, Unfinished>();
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
      aroundStep: (entry, step, work) =>
        traced({ step, commands: this.#commandsOf(entry.id) }, () => options.aroundStep?.(entry, step, work) ?? work()),
      ...(options.undoBackoff === undefined ? {} : { undoBackoff: options.undoBackoff }),
    });
  }

  /** Claims the subject, then runs `work`, which checks the ground and begins what workflows it needs, one after another. */
  async submit<R>(request: Request, work: (begin: Begin<D>, earlier: FindEarlier) => Promise<R>): Promise<R> {
    const print = fingerprint([request.kind, request.input]);
    for (;;) {
      const running = this.#claims.get(request.subject);
      if (running === undefined) break;
      if (running.print === print) {
        if (!running.recovers) return running.answer as Promise<R>;
        // What is finished there is an earlier call's; whether this one has still to act shows after that.
        await running.answer;
        continue;
      }
      if (running.operation !== undefined) throw inProgress(request, running.operation);
      // It still checks its ground, and may find that there is nothing to do: then there is no operation to be refused by.
      await running.decided;
    }
    const claim = newClaim(print);
    this.#claims.set(request.subject, claim);
    const answer = this.#work(request, claim, work);
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
    const claim = newClaim(left.fingerprint, left.id);
    this.#claims.set(subject, claim);
    const ended = this.#recover(left, claim);
    claim.answer = ended;
    await ended;
  }

  async #recover(left: Unfinished, claim: Claim): Promise<void> {
    try {
      await this.#finish(left);
    } catch (error) {
      const { id, subject } = left;
      this.#options.log.error({ err: error, operation: id, subject }, "operation could not be finished yet");
    } finally {
      this.#claims.delete(left.subject);
      claim.decide();
    }
  }

  /** The operation that works on the subject now, or was left open on it. */
  openOn(subject: string): OperationId | undefined {
    return this.#claims.get(subject)?.operation ?? this.#unfinished.get(subject)?.id;
  }

  /** Subjects with an open operation that nothing runs. */
  unfinished(): readonly Unfinished[] {
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

  async #work<R>(request: Request, claim: Claim, work: (begin: Begin<D>, earlier: FindEarlier) => Promise<R>): Promise<R> {
    const begin: Begin<D> = async (workflow, context) => {
      const id = newId("operation");
      claim.operation = id;
      claim.decide();
      return { operation: id, context: await this.#run(workflow, id, request.subject, claim.print, context) };
    };
    try {
      await this.#finishBefore(request, claim);
      return await work(begin, () => this.#findEarlier(request.subject, claim.print));
    } finally {
      this.#claims.delete(request.subject);
      claim.decide();
    }
  }

  async #findEarlier(subject: string, print: string): Promise<Earlier | undefined> {
    const last = await this.#options.store.findLast(subject);
    if (last?.fingerprint !== print || last.endedAt === undefined) return undefined;
    return Date.now() - last.endedAt.getTime() < answersKeptMs ? last : undefined;
  }

  async #run<C extends object>(
    workflow: Workflow<C, D>,
    id: OperationId,
    subject: string,
    print: string,
    context: C,
  ): Promise<C> {
    try {
      return await this.#runner.run(workflow, { id, subject, fingerprint: print, context });
    } catch (error) {
      // Until the journal was asked nobody knows whether it is open, also when it is the journal that failed.
      this.#unfinished.set(subject, { id, kind: workflow.kind, subject, fingerprint: print });
      await this.#readAgain(id, subject);
      throw error;
    } finally {
      await this.#keepCommands(id);
    }
  }

  /** Keeps in mind as unfinished what the journal holds open, because that is what a restart would go by. */
  async #readAgain(id: OperationId, subject: string): Promise<JournalEntry | undefined> {
    const written = await this.#options.store.find(id);
    if (written === undefined || !isOpen(written.state)) {
      this.#unfinished.delete(subject);
      return undefined;
    }
    this.#unfinished.set(subject, written);
    return written;
  }

  /** Nothing acts on a subject whose last operation is open: that one is finished first, or the request is refused. */
  async #finishBefore(request: Request, claim: Claim): Promise<void> {
    const left = this.#unfinished.get(request.subject);
    if (left === undefined) return;
    claim.operation = left.id;
    claim.decide();
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

  async #finish({ id, kind, subject }: Unfinished): Promise<void> {
    const workflow = this.#options.workflows.get(kind);
    if (workflow === undefined) {
      throw new StorageError("internal", `finish operations/${id}: no workflow is called ${kind}`);
    }
    const left = await this.#readAgain(id, subject);
    if (left === undefined) return;
    this.#options.log.warn({ operation: id, kind, subject }, "finishing an open operation");
    try {
      await this.#runner.recover(workflow, left);
    } finally {
      await this.#readAgain(id, subject);
      await this.#keepCommands(id);
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
    if (commands === undefined || commands.length === 0) return;
    try {
      await this.#options.store.addCommands(id, commands);
    } catch (error) {
      // They are shown, not needed: the operation's own outcome stands.
      this.#options.log.error({ err: error, operation: id }, "what an operation ran could not be kept");
    }
  }

  #changed(entry: JournalEntry): void {
    this.#options.observer?.changed(entry);
    for (const listener of this.#listeners.get(entry.id) ?? []) listener(entry);
  }
}

function newClaim(print: string, recovering?: OperationId): Claim {
  let decide = (): void => undefined;
  const decided = new Promise<void>((resolve) => {
    decide = resolve;
  });
  return { print, answer: Promise.resolve(), recovers: recovering !== undefined, operation: recovering, decided, decide };
}

function inProgress(request: Request, operation: OperationId): StorageError {
  return new StorageError("aborted", `${request.kind} ${request.subject}: another operation works on it`, {
    details: { operation: `operations/${operation}`, subject: request.subject },
    hint: "Wait for that operation to end (WatchOperation), then repeat the call.",
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => { resolve(); }, { once: true });
  });
}
