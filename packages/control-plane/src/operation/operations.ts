import { newId, StorageError, type Backoff, type HostId, type Logger, type OperationId } from "@zfsilo/lib";
import { isOpen, Runner, type JournalEntry, type OperationState, type RunnerObserver, type Workflow } from "@zfsilo/try";
import type { CommandRecord, OperationStore } from "../store/stores.ts";
import { Claims, newClaim, type Claim, type Claimed } from "./claims.ts";
import { fingerprint } from "./fingerprint.ts";
import { withoutHosts } from "./given-up.ts";
import { endsWithin } from "./patience.ts";
import { traced, type Progress, type StepTrace } from "./trace.ts";

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
  /** Resource name that only one operation at a time may work on, and that the operation is about. */
  readonly subject: string;
  /** What else nobody may work on meanwhile. The journal keeps it: it holds after a crash too. */
  readonly holds?: readonly string[];
  /** What others may use at the same time, and nobody may hold. For as long as the process lives: what is used is in the record. */
  readonly shares?: readonly string[];
  readonly kind: string;
  /** What was asked, without anything made up per call: identical requests have equal ones. */
  readonly input: unknown;
  /**
   * An initiator that is forced off the subject. What works on the subject goes on without it, so that it ends now, and of what
   * was left open there only the part on that host is dropped.
   */
  readonly without?: HostId | undefined;
  /** The control plane's own work. Callers wait for it to end; nobody is refused because of it. */
  readonly background?: boolean;
}

/** An operation that is open, or may be, and that nothing runs. */
export type Unfinished = Pick<JournalEntry, "id" | "kind" | "subject" | "holds" | "fingerprint">;

export interface OperationsOptions<D> {
  readonly store: OperationStore;
  readonly deps: D;
  readonly log: Logger;
  readonly observer?: RunnerObserver;
  /** Every workflow that may stand in the journal, by kind. */
  readonly workflows: ReadonlyMap<string, Workflow<never, D>>;
  /** How long an undo is tried before its operation is left stuck; default that of the runner. */
  readonly undoBackoff?: Backoff;
  /** Asked before what a dead process left is finished; it stays open for as long as this throws. */
  readonly mayFinish?: (left: Unfinished) => Promise<void>;
  /** Around each `do` and `undo`, for tests of what a failure or a crash there leaves. */
  readonly aroundStep?: <T>(entry: JournalEntry, step: string, work: () => Promise<T>) => Promise<T>;
}

/** How long a request that is repeated gets the first one's answer although what it asked for can be done but once. */
export const answersKeptMs = 600_000;

/** How long a request waits for what nobody asked for, or for what it forces to end, before it is refused with its name. */
const patienceMs = 10_000;

export type OperationListener = (entry: JournalEntry) => void;

/**
 * One writer per subject. An identical request joins the one that runs and gets its answer; a different one is refused
 * with its name. The work belongs to the server: a caller that goes away only stops waiting.
 */
export class Operations<D> {
  readonly #options: OperationsOptions<D>;
  readonly #runner: Runner<D>;
  readonly #claims = new Claims();
  /** Operations that are open although nothing runs them: left by a dead process, or stuck. At most one a subject. */
  readonly #unfinished = new Map<string, Unfinished>();
  readonly #commands = new Map<OperationId, CommandRecord[]>();
  readonly #progress = new Map<OperationId, Progress>();
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
        traced(this.#traceOf(entry, step), () => options.aroundStep?.(entry, step, work) ?? work()),
      ...(options.undoBackoff === undefined ? {} : { undoBackoff: options.undoBackoff }),
    });
  }

  /** Claims the subjects, then runs `work`, which checks the ground and begins what workflows it needs, one after another. */
  async submit<R>(request: Request, work: (begin: Begin<D>, earlier: FindEarlier) => Promise<R>): Promise<R> {
    const print = fingerprint([request.kind, request.subject, request.input]);
    const until = performance.now() + patienceMs;
    for (;;) {
      const claimed = this.#wantedBy(request);
      const running = this.#claims.inTheWay(claimed);
      if (running === undefined) {
        const claim = newClaim(print, request);
        if (request.without !== undefined) claim.givenUp.add(request.without);
        this.#claims.take(claim, claimed);
        const answer = withoutHosts(claim.givenUp, () => this.#work(request, claim, claimed, work));
        claim.answer = answer;
        return answer;
      }
      if (running.print === print) {
        if (!running.recovers) return running.answer as Promise<R>;
        // What is finished there is an earlier call's; whether this one has still to act shows after that.
        await running.answer;
        continue;
      }
      await this.#waitFor(running, request, until);
    }
  }

  /** Waits for what is in the way to end, or at least to show what it is, and throws when that is no reason to wait for. */
  async #waitFor(running: Claim, request: Request, until: number): Promise<void> {
    const { without, subject } = request;
    if (without !== undefined && this.#claims.inTheWay({ alone: [subject], shared: [] }) === running) running.givenUp.add(without);
    // It still checks its ground, and may find that there is nothing to do: then there is no operation to be refused by.
    if (running.operation === undefined) return running.decided;
    const isWaitedFor = without !== undefined || (running.background && request.background !== true);
    if (isWaitedFor && (await endsWithin(running.answer, until - performance.now()))) return;
    throw inProgress(request, running.operation);
  }

  /** Learns what a dead process left. From then on nothing acts on those subjects before their operation is finished. */
  async load(): Promise<void> {
    for (const entry of await this.#options.store.listOpen()) this.#remember(entry);
  }

  /** Tries to finish everything that is open and runs nowhere, a few at a time. Resolves whether or not that worked. */
  async retryUnfinished(): Promise<void> {
    const subjects = this.unfinished().map(({ subject }) => subject);
    const worker = async (): Promise<void> => {
      for (let next = subjects.pop(); next !== undefined; next = subjects.pop()) await this.retry(next);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }

  /** Tries once more to finish what is open on the subject. Resolves whether or not that worked. */
  async retry(subject: string): Promise<void> {
    const left = this.#unfinished.get(subject);
    if (left === undefined) return;
    const claimed = { alone: subjectsOf(left), shared: [] };
    if (this.#claims.inTheWay(claimed) !== undefined) return;
    const claim = newClaim(left.fingerprint, { recovering: left.id });
    this.#claims.take(claim, claimed);
    const ended = withoutHosts(claim.givenUp, () => this.#recover(left, claim, claimed));
    claim.answer = ended;
    await ended;
  }

  async #recover(left: Unfinished, claim: Claim, claimed: Claimed): Promise<void> {
    try {
      await this.#finish(left);
    } catch (error) {
      const { id, subject } = left;
      this.#options.log.error({ err: error, operation: id, subject }, "operation could not be finished yet");
    } finally {
      this.#claims.release(claim, claimed);
      claim.decide();
    }
  }

  /** The operation that works on the subject now, or was left open on it. */
  openOn(subject: string): OperationId | undefined {
    return this.#claims.on(subject)?.operation ?? this.#unfinished.get(subject)?.id;
  }

  /** How much of a long step is done, while it runs. */
  progressOf(id: OperationId): Progress | undefined {
    return this.#progress.get(id);
  }

  /** Operations that are open and that nothing runs. */
  unfinished(): readonly Unfinished[] {
    return [...new Map([...this.#unfinished.values()].map((entry) => [entry.id, entry])).values()];
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
    await Promise.allSettled([...this.#claims.all()].map(({ answer }) => Promise.race([answer, aborted(signal)])));
  }

  async #work<R>(
    request: Request,
    claim: Claim,
    claimed: Claimed,
    work: (begin: Begin<D>, earlier: FindEarlier) => Promise<R>,
  ): Promise<R> {
    const begin: Begin<D> = async (workflow, context) => {
      const id = newId("operation");
      claim.operation = id;
      claim.decide();
      return { operation: id, context: await this.#run(workflow, id, request, claim.print, context) };
    };
    try {
      await this.#finishBefore(request, claim);
      return await work(begin, () => this.#findEarlier(request.subject, claim.print));
    } finally {
      this.#claims.release(claim, claimed);
      claim.decide();
    }
  }

  /** With what an operation left open on one of the subjects holds, since that one is finished first. */
  #wantedBy({ subject, holds = [], shares = [] }: Request): Claimed {
    const alone = new Set([subject, ...holds]);
    for (const left of this.#leftOn([subject, ...holds, ...shares])) for (const held of subjectsOf(left)) alone.add(held);
    return { alone, shared: shares.filter((shared) => !alone.has(shared)) };
  }

  #leftOn(subjects: readonly string[]): ReadonlySet<Unfinished> {
    return new Set(subjects.flatMap((subject) => this.#unfinished.get(subject) ?? []));
  }

  async #findEarlier(subject: string, print: string): Promise<Earlier | undefined> {
    const last = await this.#options.store.findLast(subject);
    if (last?.fingerprint !== print || last.endedAt === undefined) return undefined;
    // One that ends in the future was stamped by a clock that has been corrected since: how old it is cannot be told.
    return Math.abs(Date.now() - last.endedAt.getTime()) < answersKeptMs ? last : undefined;
  }

  async #run<C extends object>(
    workflow: Workflow<C, D>,
    id: OperationId,
    { subject, holds = [] }: Request,
    print: string,
    context: C,
  ): Promise<C> {
    const held = holds.length === 0 ? {} : { holds };
    try {
      return await this.#runner.run(workflow, { id, subject, ...held, fingerprint: print, context });
    } catch (error) {
      // Until the journal was asked nobody knows whether it is open, also when it is the journal that failed.
      const left = { id, kind: workflow.kind, subject, ...held, fingerprint: print };
      this.#remember(left);
      await this.#readAgain(left);
      throw error;
    } finally {
      this.#progress.delete(id);
      await this.#keepCommands(id);
    }
  }

  /** Keeps in mind as unfinished what the journal holds open, because that is what a restart would go by. */
  async #readAgain(left: Unfinished): Promise<JournalEntry | undefined> {
    const written = await this.#options.store.find(left.id);
    if (written === undefined || !isOpen(written.state)) {
      for (const subject of subjectsOf(left)) this.#unfinished.delete(subject);
      return undefined;
    }
    this.#remember(written);
    return written;
  }

  #remember(left: Unfinished): void {
    for (const subject of subjectsOf(left)) this.#unfinished.set(subject, left);
  }

  /** Nothing acts on a subject whose last operation is open: that one is finished first, or the request is refused. */
  async #finishBefore({ kind, subject, holds = [], shares = [] }: Request, claim: Claim): Promise<void> {
    for (const left of this.#leftOn([subject, ...holds, ...shares])) {
      claim.operation = left.id;
      claim.decide();
      try {
        await this.#finish(left);
      } catch (error) {
        throw new StorageError("unavailable", `${kind} ${subject}: finish operations/${left.id} first`, {
          cause: error,
          details: { operation: `operations/${left.id}` },
          hint: "An earlier operation on it is stuck and is tried again with every call; mend what it reports. For an initiator that is dead call DisconnectVolume with force.",
        });
      }
    }
  }

  async #finish(unfinished: Unfinished): Promise<void> {
    const { id, kind, subject } = unfinished;
    const workflow = this.#options.workflows.get(kind);
    if (workflow === undefined) {
      throw new StorageError("internal", `finish operations/${id}: no workflow is called ${kind}`);
    }
    const left = await this.#readAgain(unfinished);
    if (left === undefined) return;
    await this.#options.mayFinish?.(left);
    this.#options.log.warn({ operation: id, kind, subject }, "finishing an open operation");
    try {
      await this.#runner.recover(workflow, left);
    } finally {
      await this.#readAgain(left);
      this.#progress.delete(id);
      await this.#keepCommands(id);
    }
  }

  #traceOf(entry: JournalEntry, step: string): StepTrace {
    return {
      step,
      commands: this.#commandsOf(entry.id),
      onProgress: (progress) => {
        this.#progress.set(entry.id, { ...progress, step });
        this.#changed(entry);
      },
    };
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

function subjectsOf({ subject, holds = [] }: Unfinished): readonly string[] {
  return [subject, ...holds];
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
