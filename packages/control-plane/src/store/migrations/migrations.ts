import { Commitments1774051200000 } from "./commitments.ts";
import { Agents1774915200000 } from "./agents.ts";
import { Encryption1776729600000 } from "./encryption.ts";
import { HostFromTemplate1780444800000 } from "./host-from-template.ts";
import { Initial1767225600000 } from "./initial.ts";
import { Leftovers1780704000000 } from "./leftovers.ts";
import { ReadOnlyPaths1769904000000 } from "./read-only-paths.ts";
import { Snapshots1772323200000 } from "./snapshots.ts";
import { WriteProtected1779235200000 } from "./write-protected.ts";

/** Oldest first. One that was ever released is never edited: the next change is another entry. */
export const migrations = [
  Initial1767225600000,
  ReadOnlyPaths1769904000000,
  Snapshots1772323200000,
  Commitments1774051200000,
  Agents1774915200000,
  Encryption1776729600000,
  WriteProtected1779235200000,
  HostFromTemplate1780444800000,
  Leftovers1780704000000,
];
