import type { OperationId, Reason } from "@zfsilo/lib";
import type { Direction } from "./workflow.ts";

/** `failed` means nothing is left of a build-up, or that a forward operation may be asked for again. */
export type OperationState = "running" | "undoing" | "succeeded" | "failed" | "stuck";
/** `dropped`: its place was given up before it could be taken back there. */
export type StepState = "pending" | "running" | "done" | "failed" | "undone" | "undo_failed" | "dropped";

export interface StepRecord {
  readonly name: string;
  state: StepState;
  startedAt?: Date;
  endedAt?: Date;
}

export interface OperationFailure {
  readonly reason: Reason;
  readonly message: string;
  readonly hint?: string;
}

/** One run of a workflow, as it is written down. The runner owns it while the operation is open. */
export interface JournalEntry {
  readonly id: OperationId;
  readonly kind: string;
  readonly direction: Direction;
  /** What it works on, as a resource name. */
  readonly subject: string;
  /** What else nobody may work on meanwhile. */
  readonly holds?: readonly string[];
  /** Tells identical requests from different ones. */
  readonly fingerprint: string;
  context: object;
  state: OperationState;
  readonly steps: StepRecord[];
  failure?: OperationFailure;
  readonly createdAt: Date;
  endedAt?: Date;
}

/** Where operations are written down. Each call is durable when it resolves: the runner acts only after that. */
export interface Journal {
  open(entry: JournalEntry): Promise<void>;
  save(entry: JournalEntry): Promise<void>;
  /** Operations that a dead process left running, undoing or stuck, oldest first. */
  listOpen(): Promise<JournalEntry[]>;
}

export class MemoryJournal implements Journal {
  readonly #entries = new Map<OperationId, JournalEntry>();

  open(entry: JournalEntry): Promise<void> {
    return this.save(entry);
  }

  save(entry: JournalEntry): Promise<void> {
    this.#entries.set(entry.id, structuredClone(entry));
    return Promise.resolve();
  }

  listOpen(): Promise<JournalEntry[]> {
    const open = [...this.#entries.values()].filter(({ state }) => isOpen(state));
    return Promise.resolve(structuredClone(open));
  }

  find(id: OperationId): JournalEntry | undefined {
    return structuredClone(this.#entries.get(id));
  }
}

export function isOpen(state: OperationState): boolean {
  return state === "running" || state === "undoing" || state === "stuck";
}
