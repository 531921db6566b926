import { create } from "@bufbuild/protobuf";
import { DifferenceOutcome, DifferenceSchema, type Difference } from "@zfsilo/api";
import type { Finding } from "../../reconcile/findings.ts";

const outcomes = {
  reported: DifferenceOutcome.REPORTED,
  repaired: DifferenceOutcome.REPAIRED,
  left: DifferenceOutcome.LEFT,
} as const satisfies Record<Finding["outcome"], DifferenceOutcome>;

export function findingToMessage({ host, reason, expected, observed, outcome, explanation, action }: Finding): Difference {
  return create(DifferenceSchema, { host, reason, expected, observed, outcome: outcomes[outcome], explanation, action: action ?? "" });
}

/** How many there are of one outcome. */
export function countOutcome(findings: readonly Finding[], wanted: Finding["outcome"]): bigint {
  return BigInt(findings.filter(({ outcome }) => outcome === wanted).length);
}
