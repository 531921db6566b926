import { describe, expect, it } from "vitest";
import { parseDatasetName } from "./names.ts";
import { datasetOf, handleOf, parseHoldTag, parseSnapshotName, poolOfSnapshot, snapshotOf } from "./snapshot-name.ts";

describe("parseSnapshotName", () => {
  it.each(["tank@s", "tank/zfsilo/0123456789abcdef@89abcdef01234567", "t/A@b_c.d:e-f", `tank/z@${"x".repeat(248)}`])("takes %s", (name) => {
    const parsed = parseSnapshotName(name);
    expect(parsed).toBe(name);
    expect(snapshotOf(datasetOf(parsed), handleOf(parsed))).toBe(name);
    expect(poolOfSnapshot(parsed)).toBe(name.split(/[/@]/, 1)[0]);
  });

  it.each([
    ["tank/z", "no '@'"],
    ["tank/z@", "nothing after"],
    ["tank/z@a@b", "more than one"],
    ["tank/z@-r", "begins with '-'"],
    ["tank/z@a,b", "character"],
    ["tank/z@a%b", "character"],
    ["tank/z@a b", "character"],
    ["tank/z@a#b", "character"],
    ["tank//z@s", "empty component"],
    [`tank/z@${"x".repeat(249)}`, "longer than 255"],
  ])("refuses %j", (name, problem) => {
    expect(() => parseSnapshotName(name, "snapshot.dataset")).toThrow(problem);
    expect(() => parseSnapshotName(name, "snapshot.dataset")).toThrow(/^snapshot\.dataset: /);
  });

  it("counts the dataset in", () => {
    expect(() => snapshotOf(parseDatasetName(`tank/${"x".repeat(245)}`), "12345")).toThrow("longer than 255");
  });
});

describe("parseHoldTag", () => {
  it.each(["a", "backup:2026-01-01", "x".repeat(100)])("takes %s", (tag) => {
    expect(parseHoldTag(tag)).toBe(tag);
  });

  it.each(["", "-r", ".x", "a b", "a/b", "x".repeat(101)])("refuses %j", (tag) => {
    expect(() => parseHoldTag(tag)).toThrow(/^tag: /);
  });
});
