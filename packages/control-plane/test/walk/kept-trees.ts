import type { TreeCall } from "./tree-model.ts";
import type { TreeStep } from "./tree-walk.ts";

const call = (one: TreeCall): TreeStep => ({ kind: "call", call: one, trouble: { kind: "none" } });
const volumes = ["vol_a", "vol_b"] as const;

/** Trees that taught something once. */
export const keptTrees: readonly { readonly name: string; readonly steps: readonly TreeStep[] }[] = [
  {
    name: "a snapshot and a group of a volume are none of a later volume of its name",
    steps: [
      ...volumes.map((volume) => call({ kind: "create", volume })),
      call({ kind: "group", group: "grp_one", volumes }),
      call({ kind: "take", snapshot: "snap_one", volume: "vol_a" }),
      call({ kind: "copy", volume: "vol_c", mode: "clone", from: { snapshot: "snap_one" } }),
      call({ kind: "delete", volume: "vol_a", policy: "promote_clone" }),
      call({ kind: "take", snapshot: "snap_one", volume: "vol_a" }),
      call({ kind: "create", volume: "vol_a" }),
      call({ kind: "take", snapshot: "snap_one", volume: "vol_a" }),
      call({ kind: "group", group: "grp_one", volumes }),
    ],
  },
  {
    name: "a clone that is deleted beside its origin's promotion",
    steps: [
      call({ kind: "create", volume: "vol_a" }),
      call({ kind: "copy", volume: "vol_b", mode: "clone", from: { volume: "vol_a" } }),
      { kind: "together", calls: [{ kind: "delete", volume: "vol_a", policy: "promote_clone" }, { kind: "copy", volume: "vol_c", mode: "full", from: { volume: "vol_a" } }] },
      { kind: "together", calls: [{ kind: "delete", volume: "vol_b", policy: "promote_clone" }, { kind: "delete", volume: "vol_a", policy: "promote_clone" }] },
    ],
  },
];
