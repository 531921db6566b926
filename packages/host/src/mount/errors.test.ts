import type { Reason } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { reasonFor, unusedRules } from "../testing/reasons.ts";
import { readFailures } from "../testing/testdata.ts";
import { mountFailures } from "./errors.ts";

const captured: Readonly<Record<string, Reason>> = {
  "mount-again": "already_exists",
  "mount-blank": "precondition",
  "mount-no-device": "not_found",
  "mount-no-dir": "not_found",
  "mount-wrong-type": "already_exists",
  "umount-busy": "busy",
  "umount-no-dir": "not_found",
  "umount-not-mounted": "not_found",
};

const seen: readonly (readonly [stderr: string, reason: Reason])[] = [
  ["mount: /mnt/a: unknown filesystem type 'xfs'.", "precondition"],
  ["mount: /mnt/a: cannot mount /dev/sda read-only.", "precondition"],
  ["mount: /mnt/a: can't read superblock on /dev/sda.", "unavailable"],
  ["mount: /mnt/a: must be superuser to use mount.", "permission_denied"],
  ["mount: something new", "internal"],
];

describe("mount failures", () => {
  it.each(readFailures(import.meta.url))("$name", ({ name, exitCode, stderr }) => {
    expect(reasonFor(mountFailures, exitCode, stderr)).toBe(captured[name]);
  });

  it.each(seen)("%s", (stderr, reason) => {
    expect(reasonFor(mountFailures, 32, stderr)).toBe(reason);
  });

  it("has no rule that nothing here needs", () => {
    const files = readFailures(import.meta.url).map(({ exitCode, stderr }) => [exitCode, stderr] as const);
    expect(unusedRules(mountFailures, [...files, ...seen.map(([text]) => [32, text] as const)])).toEqual([]);
  });
});
