import type { StderrRule } from "../tool.ts";

/** systemd 252 and util-linux 2.38.1 (Debian 12). */
export const freezeFailures: readonly StderrRule[] = [
  { pattern: /was already loaded or has a fragment file/, reason: "already_exists" },
  { pattern: /Unit \S+ not loaded/, reason: "not_found" },
  {
    pattern: /Failed to connect to bus|System has not been booted with systemd/,
    reason: "precondition",
    hint: "A filesystem is frozen by the host's systemd, which has to run and be reachable there.",
  },
  {
    pattern: /^Job for \S+ failed|^Assertion failed on job/m,
    reason: "precondition",
    hint: "The filesystem could not be frozen in time, or somebody else has frozen it; the host's journal says which.",
  },
];
