import type { WalkStep } from "./walk.ts";

const none = { kind: "none" } as const;
const take = "hst_take";
const files = (call: Extract<WalkStep, { kind: "call" }>["call"]): WalkStep => ({ kind: "call", volume: "vol_files", call, trouble: none });

/** Walks that failed once, shortened, with what they taught. */
export const keptWalks: readonly { readonly name: string; readonly steps: readonly WalkStep[] }[] = [
  {
    name: "two calls that both succeed, and tell by the row alone which was first",
    steps: [
      files({ kind: "create" }),
      files({ kind: "publish" }),
      files({ kind: "connect", host: take }),
      { kind: "together", volume: "vol_files", calls: [{ kind: "stage", host: take }, { kind: "unstage", host: take }] },
    ],
  },
];
