import type { StderrRule } from "../tool.ts";

/** Failures of zfs and zpool as ZFS 2.1.11 words them (Debian 12). The first match wins. */
export const zfsFailures: readonly StderrRule[] = [
  { pattern: /: no such pool/, reason: "not_found", hint: "Import the pool, or correct its name." },
  { pattern: /dataset does not exist/, reason: "not_found" },
  { pattern: /could not find any snapshots to destroy/, reason: "not_found" },
  { pattern: /no such tag on this dataset/, reason: "not_found" },
  {
    pattern: /parent does not exist/,
    reason: "precondition",
    hint: "Create the parent dataset first.",
  },
  { pattern: /already exists/, reason: "already_exists" },
  { pattern: /destination '.*' exists/, reason: "already_exists" },
  { pattern: /out of space/, reason: "no_space", hint: "Free space in the pool, or ask for less." },
  { pattern: /size is greater than available space/, reason: "no_space", hint: "Free space in the pool, or ask for less." },
  { pattern: /has children|has dependent clones/, reason: "has_dependents" },
  { pattern: /more recent snapshots or bookmarks exist/, reason: "has_dependents" },
  {
    pattern: /dataset is busy/,
    reason: "busy",
    hint: "Something holds it: an export, an open device, a snapshot hold, LVM or multipath on the host.",
  },
  { pattern: /permission denied/, reason: "permission_denied", hint: "zfs must run as root or with `zfs allow`." },
  { pattern: /volume size cannot be zero/, reason: "invalid_argument" },
  { pattern: /must be a multiple of volume block size/, reason: "invalid_argument" },
  { pattern: /'volblocksize' must be power of 2/, reason: "invalid_argument" },
  { pattern: /invalid property '/, reason: "invalid_argument" },
  { pattern: /' must be one of '/, reason: "invalid_argument" },
  { pattern: /' is readonly/, reason: "invalid_argument" },
  { pattern: /does not apply to datasets of this type/, reason: "invalid_argument" },
  { pattern: /snapshot delimiter '@' is not expected here/, reason: "invalid_argument" },
  { pattern: /invalid character .* in name/, reason: "invalid_argument" },
  { pattern: /name is too long/, reason: "invalid_argument" },
  { pattern: /operation does not apply to pools/, reason: "precondition" },
  { pattern: /not a cloned filesystem/, reason: "precondition" },
  { pattern: /pool I\/O is currently suspended/, reason: "unavailable", hint: "See `zpool status` on the host." },
];
