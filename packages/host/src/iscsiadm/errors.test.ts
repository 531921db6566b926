import type { Reason } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { reasonFor, unusedRules } from "../testing/reasons.ts";
import { readFailures } from "../testing/testdata.ts";
import { iscsiadmFailures } from "./errors.ts";

const captured: Readonly<Record<string, Reason>> = {
  "delete-live": "already_exists",
  "login-again": "already_exists",
  "login-bad-chap": "permission_denied",
  "login-bad-mutual-chap": "precondition",
  "login-no-record": "not_found",
  "login-not-served": "unavailable",
  "logout-none": "not_found",
  "rescan-none": "not_found",
};

const seen: readonly (readonly [exitCode: number, stderr: string, reason: Reason])[] = [
  [4, "iscsiadm: initiator reported error (4 - encountered connection failure)", "unavailable"],
  [5, "iscsiadm: initiator reported error (5 - encountered iSCSI login failure)", "unavailable"],
  [7, "iscsiadm: Could not execute operation on all records: invalid parameter", "internal"],
  [11, "iscsiadm: Could not perform SendTargets discovery: iSCSI PDU timed out", "unavailable"],
  [13, "iscsiadm: must be root", "permission_denied"],
  [18, "iscsiadm: can not connect to iSCSI daemon (111)!", "unavailable"],
  [20, "iscsiadm: can not connect to iSCSI daemon (111)!", "unavailable"],
  [28, "iscsiadm: device or resource in use", "busy"],
  [29, "iscsiadm: operation failed but retry may succeed", "busy"],
  [6, "iscsiadm: idbm error", "internal"],
  [15, "something new", "internal"],
];

describe("iscsiadm failures", () => {
  it.each(readFailures(import.meta.url))("$name", ({ name, exitCode, stderr }) => {
    expect(reasonFor(iscsiadmFailures, exitCode, stderr)).toBe(captured[name]);
  });

  it.each(seen)("%i %s", (exitCode, stderr, reason) => {
    expect(reasonFor(iscsiadmFailures, exitCode, stderr)).toBe(reason);
  });

  it("has no rule that nothing here needs", () => {
    const files = readFailures(import.meta.url).map(({ exitCode, stderr }) => [exitCode, stderr] as const);
    expect(unusedRules(iscsiadmFailures, [...files, ...seen.map(([code, text]) => [code, text] as const)])).toEqual([]);
  });
});
