import type { StderrRule } from "../tool.ts";

/** util-linux 2.38.1, exit 32. */
export const mountFailures: readonly StderrRule[] = [
  { pattern: /target is busy/, reason: "busy", hint: "A process still uses the mount: `fuser -vm` on the host names it." },
  { pattern: /already mounted/, reason: "already_exists" },
  { pattern: /: not mounted\.|no mount point specified/, reason: "not_found" },
  { pattern: /mount point does not exist|special device .* does not exist/, reason: "not_found" },
  {
    pattern: /wrong fs type, bad option, bad superblock/,
    reason: "precondition",
    hint: "The filesystem is damaged, of another type, or an option is wrong; the host's kernel log says which.",
  },
  {
    pattern: /cannot mount .* read-only/,
    reason: "precondition",
    hint: "The device is read-only, and the filesystem has to be written to, as when its journal has to be replayed.",
  },
  { pattern: /unknown filesystem type/, reason: "precondition", hint: "The host's kernel cannot mount this filesystem." },
  { pattern: /can't read superblock/, reason: "unavailable", hint: "The device does not answer: is its session up?" },
  { pattern: /permission denied|must be superuser/, reason: "permission_denied" },
];
