import * as fc from "fast-check";
import { oneOf, machine, trouble } from "./arbitrary.ts";
import { treeGroups, treeSnapshots, treeVolumes, type SnapshotRef, type TreeCall } from "./tree-model.ts";
import type { TreeStep } from "./tree-walk.ts";

const volume = oneOf(...treeVolumes);
const group = oneOf(...treeGroups);
const own = oneOf(...treeSnapshots);
const snapshot: fc.Arbitrary<SnapshotRef> = fc.oneof(
  { weight: 4, arbitrary: own },
  { weight: 1, arbitrary: fc.record({ group, index: fc.nat(1) }) },
);
const tag = oneOf("backup", "legal");
const from = fc.oneof(
  { weight: 3, arbitrary: fc.record({ snapshot }) },
  { weight: 1, arbitrary: fc.record({ volume }) },
);

/** What makes trees grow is done more often than what fells them. */
const call: fc.Arbitrary<TreeCall> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: oneOf("create"), volume }) },
  { weight: 4, arbitrary: fc.record({ kind: oneOf("write"), volume }) },
  { weight: 8, arbitrary: fc.record({ kind: oneOf("copy"), volume, mode: fc.oneof({ weight: 3, arbitrary: oneOf("clone") }, { weight: 1, arbitrary: oneOf("full") }), from }) },
  { weight: 4, arbitrary: fc.record({ kind: oneOf("delete"), volume, policy: oneOf("refuse", "delete", "promote_clone") }) },
  { weight: 3, arbitrary: fc.record({ kind: oneOf("rollback"), volume, snapshot, destroyLater: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ kind: oneOf("take"), snapshot: own, volume }) },
  { weight: 3, arbitrary: fc.record({ kind: oneOf("remove"), snapshot, tombstone: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("hold"), snapshot, tag }) },
  { weight: 2, arbitrary: fc.record({ kind: oneOf("release"), snapshot, tag }) },
  { weight: 3, arbitrary: fc.record({ kind: oneOf("group"), group, volumes: fc.uniqueArray(volume, { minLength: 1, maxLength: 2 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: oneOf("ungroup"), group }) },
);

/** A write is the caller's own doing, which no other call waits for. */
const besides = call.filter(({ kind }) => kind !== "write");

const step: fc.Arbitrary<TreeStep> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: oneOf("call"), call, trouble }) },
  { weight: 3, arbitrary: fc.record({ kind: oneOf("together"), calls: fc.tuple(besides, besides) }) },
  { weight: 1, arbitrary: fc.record({ kind: oneOf("power-cut"), host: machine }) },
);

/** Every walk begins with a volume that has a snapshot and a clone, or most would never get that far. */
export const treeWalks: fc.Arbitrary<TreeStep[]> = fc
  .array(step, { minLength: 5, maxLength: 30, size: "max" })
  .map((steps) => [...beginning, ...steps]);

const untroubled = (one: TreeCall): TreeStep => ({ kind: "call", call: one, trouble: { kind: "none" } });
const beginning: readonly TreeStep[] = [
  untroubled({ kind: "create", volume: "vol_a" }),
  untroubled({ kind: "write", volume: "vol_a" }),
  untroubled({ kind: "take", snapshot: "snap_one", volume: "vol_a" }),
  untroubled({ kind: "copy", volume: "vol_b", mode: "clone", from: { snapshot: "snap_one" } }),
];
