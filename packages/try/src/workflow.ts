import type { Logger } from "@zfsilo/lib";
import type { z } from "zod";

/** What a step may use besides its context. */
export interface StepIo<D> {
  /** Stores, hosts, clocks: whatever the workflow's owner wired up. Never journaled. */
  readonly deps: D;
  /** Aborts when the operation must end. An undo gets a signal of its own, never the one that stopped the `do`. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export interface Step<C extends object, D> {
  readonly name: string;
  /**
   * Brings the world to the state this step stands for, and reads it back. Repeating it is harmless. What it returns is
   * merged into the context for later steps.
   */
  do(context: C, io: StepIo<D>): Promise<Partial<C> | undefined>;
  /**
   * Takes it back. "Already gone" is success. It must manage with the context as it was BEFORE `do`, because a crash may
   * have lost what `do` returned; so names are chosen before the step that uses them.
   */
  undo?(context: C, io: StepIo<D>): Promise<void>;
  /** In place of the undo when the place it would act at was given up (GivenUpError): records what may be left there. */
  drop?(context: C, io: StepIo<D>): Promise<void>;
}

/**
 * `build-up`: a failure or a crash undoes, in reverse, every step that began.
 * `forward`: only ever goes on. A failure leaves it to be asked for again, a crash is resumed. For tear-down, and for
 * growth, which cannot be taken back without risking data.
 */
export type Direction = "build-up" | "forward";

export interface Workflow<C extends object, D> {
  readonly kind: string;
  readonly direction: Direction;
  /** Reads a context back from the journal. Fields that steps add are optional in it. */
  readonly context: z.ZodType<C>;
  readonly steps: readonly Step<C, D>[];
}

export function buildUp<C extends object, D>(
  kind: string,
  context: z.ZodType<C>,
  steps: readonly Step<C, D>[],
): Workflow<C, D> {
  return { kind, direction: "build-up", context, steps };
}

export function forward<C extends object, D>(
  kind: string,
  context: z.ZodType<C>,
  steps: readonly Step<C, D>[],
): Workflow<C, D> {
  return { kind, direction: "forward", context, steps };
}
