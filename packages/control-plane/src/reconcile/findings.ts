import type { HostId, OperationId } from "@zfsilo/lib";
import type { ConditionRecord, VolumeRecord } from "../store/model.ts";
import type { Difference } from "./compare.ts";
import type { ActionKind } from "./plan.ts";

/** A difference and what became of it. */
export interface Finding extends Difference {
  /** `reported`: nothing was tried, as asked. `repaired`: gone when looked at again. `left`: `explanation` says why. */
  readonly outcome: "reported" | "repaired" | "left";
  readonly explanation: string;
  /** What was done or tried, or would be. */
  readonly action: ActionKind | undefined;
}

/** What one look at one volume came to. */
export interface VolumeFindings {
  /** As recorded afterwards. */
  readonly volume: VolumeRecord;
  /** Empty when all is as recorded. */
  readonly findings: readonly Finding[];
  /** The last operation that repaired something. */
  readonly operation: OperationId | undefined;
  /** Hosts that could not be looked at in the end. */
  readonly unseen: readonly Difference[];
  /** Why the first repair that failed did. */
  readonly failure: unknown;
}

/** What one look at all hosts came to. */
export interface CycleResult {
  readonly checked: number;
  readonly repaired: number;
  readonly left: number;
  readonly unreachable: readonly HostId[];
}

/** What the condition of a volume says of its differences. The first one gives the reason. */
export function conditionOf(differences: readonly Difference[]): Pick<ConditionRecord, "reason" | "message"> | undefined {
  const [first] = differences;
  if (first === undefined) return undefined;
  return {
    reason: first.reason,
    message: differences.map(({ host, reason, observed }) => `${host}: ${reason} (${observed})`).join("; "),
  };
}
