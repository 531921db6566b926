import { expect, it } from "vitest";
import { isChangedSince } from "./changed-since.ts";

it.each([
  ["before", -1, false],
  ["after", 0, true],
  ["at a time that a clock was ahead of", 10 * 365 * 86_400_000, false],
])("a row written %s the look began", (_, shiftMs, expected) => {
  const began = new Date();
  expect(isChangedSince({ updatedAt: new Date(began.getTime() + shiftMs) }, began)).toBe(expected);
});
