import type { Reason } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { reasonFor, unusedRules } from "../testing/reasons.ts";
import { readFailures } from "../testing/testdata.ts";
import { filesystemFailures } from "./errors.ts";

const captured: Readonly<Record<string, Reason>> = {
  "mkfs-ext4-mounted": "precondition",
  "mkfs-ext4-no-device": "not_found",
  "mkfs-ext4-tiny": "invalid_argument",
  "mkfs-xfs-again": "precondition",
  "mkfs-xfs-over-ext4": "precondition",
  "mkfs-xfs-small": "invalid_argument",
  "resize2fs-no-fs": "precondition",
  "resize2fs-smaller": "invalid_argument",
  "resize2fs-unclean": "precondition",
  "xfs_growfs-not-mounted": "precondition",
};

const seen: readonly (readonly [stderr: string, reason: Reason])[] = [
  ["resize2fs: New size smaller than minimum (5676)", "invalid_argument"],
  ["/dev/sda is apparently in use by the system; will not make a filesystem here!", "busy"],
  ["mkfs.xfs: /dev/sda appears to contain a partition table (dos).", "precondition"],
  ["xfs_info: /dev/sda is not a valid XFS filesystem (unexpected SB magic number 0x00000000)", "precondition"],
  ["dumpe2fs: No such file or directory while trying to open /dev/nosuch", "not_found"],
  ["e2fsck: Input/output error while trying to open /dev/sda", "unavailable"],
  ["unknown option -i exchange=0", "precondition"],
  ["Invalid filesystem option set: orphan_file", "precondition"],
  ["inode btree counters not supported without finobt support", "precondition"],
  ["resize2fs: New size results in too many block group descriptors.", "precondition"],
  ["Segmentation fault", "internal"],
];

describe("filesystem tool failures", () => {
  it.each(readFailures(import.meta.url))("$name", ({ name, exitCode, stderr }) => {
    expect(reasonFor(filesystemFailures, exitCode, stderr)).toBe(captured[name]);
  });

  it.each(seen)("%s", (stderr, reason) => {
    expect(reasonFor(filesystemFailures, 1, stderr)).toBe(reason);
  });

  it("has no rule that nothing here needs", () => {
    const files = readFailures(import.meta.url).map(({ exitCode, stderr }) => [exitCode, stderr] as const);
    expect(unusedRules(filesystemFailures, [...files, ...seen.map(([text]) => [1, text] as const)])).toEqual([]);
  });
});
