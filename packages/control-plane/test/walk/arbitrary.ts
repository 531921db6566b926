import type { FaultEffect } from "@zfsilo/sim-host";
import * as fc from "fast-check";
import { walkHosts, walkVolumes, type Call, type CallKind } from "./model.ts";
import type { WalkStep } from "./walk.ts";
import type { Trouble } from "./walker.ts";

export const oneOf = <T extends string>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const host = oneOf(...walkHosts);
export const machine = oneOf("hst_give", ...walkHosts);

/** Upwards more often than down, or a walk would hardly leave the ground. */
const weights: Readonly<Record<CallKind, number>> = {
  create: 4,
  publish: 4,
  connect: 6,
  stage: 6,
  mount: 6,
  grow: 2,
  unmount: 2,
  unstage: 2,
  disconnect: 2,
  "force-disconnect": 1,
  unpublish: 1,
  delete: 1,
};

const call: fc.Arbitrary<Call> = fc
  .tuple(
    fc.oneof(...Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as CallKind) }))),
    // Mostly one host, so that calls meet.
    fc.oneof({ weight: 4, arbitrary: fc.constant(walkHosts[0]) }, { weight: 1, arbitrary: host }),
  )
  .map(([kind, on]) => ({ kind, host: on }));

const effect: fc.Arbitrary<FaultEffect> = fc.oneof(
  fc.constant<FaultEffect>({ kind: "fail" }),
  fc.constant<FaultEffect>({ kind: "drop-before" }),
  fc.constant<FaultEffect>({ kind: "drop-after" }),
  fc.constant<FaultEffect>({ kind: "garbage", stdout: "\u{fffd}\u{fffd} nonsense", exitCode: 0 }),
  fc.constant<FaultEffect>({ kind: "garbage", stdout: "", exitCode: 77 }),
);

const nth = fc.integer({ min: 1, max: 20 });
const when = oneOf("before", "after");
export const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Trouble>({ kind: "none" }) },
  { weight: 4, arbitrary: fc.record({ kind: oneOf("fault"), nth, times: fc.integer({ min: 1, max: 4 }), effect }) },
  { weight: 2, arbitrary: fc.record({ kind: oneOf("crash"), nth, when }) },
  { weight: 2, arbitrary: fc.record({ kind: oneOf("crash-at-write"), nth: fc.integer({ min: 1, max: 6 }), when }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("outage"), host: machine }) },
);

const death: fc.Arbitrary<Trouble> = fc.record({ kind: oneOf("death"), host, nth: fc.integer({ min: 1, max: 12 }) });

const volume = oneOf(...walkVolumes);
const step: fc.Arbitrary<WalkStep> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: oneOf("call"), volume, call, trouble: fc.oneof({ weight: 12, arbitrary: trouble }, { weight: 2, arbitrary: death }) }) },
  { weight: 3, arbitrary: fc.record({ kind: oneOf("together"), volume, calls: fc.tuple(call, call) }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("power-cut"), host: machine }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("renamed"), host, nth: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("moved"), nth: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("restored"), volume }) },
);

export const walks: fc.Arbitrary<WalkStep[]> = fc.array(step, { minLength: 5, maxLength: 30, size: "max" });
