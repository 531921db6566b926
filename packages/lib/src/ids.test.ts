import { describe, expect, it } from "vitest";
import { newId, newVolumeHandle, parseHostId, parseVolumeHandle, parseVolumeId } from "./ids.ts";

it("makes ids that parse, and that differ", () => {
  const ids = Array.from({ length: 100 }, () => newId("volume"));
  expect(new Set(ids.map(parseVolumeId)).size).toBe(100);
});

it("makes handles of 16 hex digits, as a SCSI serial needs them", () => {
  expect(parseVolumeHandle(newVolumeHandle())).toMatch(/^[0-9a-f]{16}$/);
});

describe("ids callers choose", () => {
  it.each(["a", "hst_give", "pvc-0a1b2c", "v".repeat(63)])("takes %s", (text) => {
    expect(parseHostId(text)).toBe(text);
  });

  it.each(["", "A", "1a", "a-", "a_", "-a", "a/b", "a b", "a\n", "../a", "é", "v".repeat(64)])("refuses %j", (text) => {
    expect(() => parseHostId(text)).toThrow(expect.objectContaining({ reason: "invalid_argument" }));
  });
});
