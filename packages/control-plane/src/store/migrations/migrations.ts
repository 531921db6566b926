import { Initial1767225600000 } from "./initial.ts";

/** Oldest first. One that was ever released is never edited: the next change is another entry. */
export const migrations = [Initial1767225600000];
