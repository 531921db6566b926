import type { Reason } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { toolFailure } from "../tool.ts";
import { readFailures } from "../testing/testdata.ts";
import { zfsFailures } from "./errors.ts";

const captured: Readonly<Record<string, Reason>> = {
  "clone-bad-property": "invalid_argument",
  "clone-exists": "already_exists",
  "clone-no-parent": "precondition",
  "clone-out-of-space": "no_space",
  "clone-parent-is-volume": "precondition",
  "clone-volblocksize": "invalid_argument",
  "create-bad-char": "invalid_argument",
  "create-bad-name": "invalid_argument",
  "create-bad-property": "invalid_argument",
  "create-bad-value": "invalid_argument",
  "create-bad-volblocksize": "invalid_argument",
  "create-exists": "already_exists",
  "create-key-file-absent": "precondition",
  "create-key-long": "invalid_argument",
  "create-key-none": "precondition",
  "create-key-short": "invalid_argument",
  "create-long-name": "invalid_argument",
  "create-no-parent": "precondition",
  "create-no-pool": "not_found",
  "create-out-of-space": "no_space",
  "create-parent-exists": "already_exists",
  "create-parent-is-volume": "precondition",
  "create-zero": "invalid_argument",
  "destroy-absent": "not_found",
  "destroy-busy": "busy",
  "destroy-deferred-absent": "not_found",
  "destroy-exported": "busy",
  "destroy-has-children": "has_dependents",
  "destroy-has-snapshots": "has_dependents",
  "destroy-no-pool": "not_found",
  "destroy-r-has-clones": "has_dependents",
  "destroy-snapshot-absent": "not_found",
  "destroy-snapshot-clones": "has_dependents",
  "destroy-snapshot-held": "busy",
  "destroy-snapshot-no-dataset": "not_found",
  "destroy-snapshot-with-clone": "has_dependents",
  "get-parent-absent": "not_found",
  "get-snapshot-absent": "not_found",
  "get-snapshot-no-pool": "not_found",
  "get-volume-absent": "not_found",
  "get-volume-no-pool": "not_found",
  "hold-absent": "not_found",
  "hold-dot": "invalid_argument",
  "hold-no-dataset": "not_found",
  "hold-twice": "already_exists",
  "holds-absent": "not_found",
  "list-no-pool": "not_found",
  "load-key-of-clone": "precondition",
  "load-key-plain": "precondition",
  "load-key-short": "invalid_argument",
  "load-key-wrong": "invalid_argument",
  "permission-denied": "permission_denied",
  "promote-conflict": "already_exists",
  "promote-no-clone": "precondition",
  "receive-empty": "internal",
  "receive-exists": "already_exists",
  "receive-incomplete": "internal",
  "receive-no-parent": "precondition",
  "release-absent": "not_found",
  "release-unknown": "not_found",
  "rename-exists": "already_exists",
  "rollback-absent": "not_found",
  "rollback-later": "has_dependents",
  "send-absent": "not_found",
  "send-locked": "precondition",
  "send-wrong-order": "invalid_argument",
  "set-absent": "not_found",
  "set-nosuch": "invalid_argument",
  "set-quota": "invalid_argument",
  "set-too-small-quota": "precondition",
  "set-volblocksize": "invalid_argument",
  "set-volsize-locked": "permission_denied",
  "set-volsize-odd": "invalid_argument",
  "set-volsize-too-big": "no_space",
  "snapshot-exists": "already_exists",
  "snapshot-group-absent": "not_found",
  "snapshot-group-exists": "already_exists",
  "snapshot-long-name": "invalid_argument",
  "snapshot-no-dataset": "not_found",
  "snapshot-volume-twice": "invalid_argument",
  "unload-key-busy": "busy",
};

/** Seen on ZFS 2.1.11, without a file of their own. */
const seen: readonly (readonly [stderr: string, reason: Reason])[] = [
  ["cannot destroy 'tank': operation does not apply to pools\nuse 'zfs destroy -r tank'", "precondition"],
  ["cannot unmount '/tank/fs/k': pool or dataset is busy", "busy"],
  ["cannot set property for 'tank/z1': 'volblocksize' is readonly", "invalid_argument"],
  ["bad property list: invalid property 'nosuch'\nusage:", "invalid_argument"],
  ["cannot open 'tank/z1': pool I/O is currently suspended", "unavailable"],
  ["internal error: Invalid exchange", "internal"],
  ["", "internal"],
];

const reasonOf = (exitCode: number, stderr: string): Reason =>
  toolFailure("give", "try", ["zfs"], { exitCode, stdout: "", stderr }, zfsFailures).reason;

describe("zfs failures", () => {
  it.each(readFailures(import.meta.url))("$name", ({ name, exitCode, stderr }) => {
    expect(reasonOf(exitCode, stderr)).toBe(captured[name]);
  });

  it("has a captured file for each expectation", () => {
    expect(readFailures(import.meta.url).map(({ name }) => name)).toEqual(Object.keys(captured).sort());
  });

  it.each(seen)("%s", (stderr, reason) => {
    expect(reasonOf(1, stderr)).toBe(reason);
  });

  it("has no rule that nothing here needs", () => {
    const texts = [...readFailures(import.meta.url).map(({ stderr }) => stderr), ...seen.map(([stderr]) => stderr)];
    const unused = zfsFailures.filter(
      (rule) => !texts.some((text) => zfsFailures.find(({ pattern }) => pattern.test(text)) === rule),
    );
    expect(unused).toEqual([]);
  });

  it("keeps the complaint in the cause and out of the message", () => {
    const failure = toolFailure("give", "create volume tank/z1", ["zfs"], { exitCode: 1, stdout: "", stderr: "no\n" }, []);
    expect(failure.message).toBe("create volume tank/z1 on give");
    expect(failure.cause).toMatchObject({ message: "zfs exited with 1: no" });
  });
});
