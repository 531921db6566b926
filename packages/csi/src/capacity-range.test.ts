import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { csi } from "@zfsilo/api";
import { expect, it } from "vitest";
import { chooseCapacity, chooseExpansion, isWithin } from "./capacity-range.ts";

const mib = 1024n ** 2n;
const gib = 1024n ** 3n;

function range(requiredBytes: bigint, limitBytes = 0n): csi.CapacityRange {
  return create(csi.CapacityRangeSchema, { requiredBytes, limitBytes });
}

it.each([
  ["nothing said", undefined, "", gib],
  ["a size", range(5n * gib), "ext4", 5n * gib],
  ["an odd size, rounded up", range(gib + 1n), "", gib + 16_384n],
  ["beyond 2^53, exactly", range(9_007_199_254_757_376n), "", 9_007_199_254_757_376n],
  ["a limit alone below the default", range(0n, 100n * mib + 5n), "", 100n * mib],
  ["a limit alone above it", range(0n, 5n * gib), "", gib],
  ["less than ext4 can be", range(1n), "ext4", 16n * mib],
  ["less than xfs can be", range(mib), "xfs", 300n * mib],
  ["one byte of raw block", range(1n), "", 16_384n],
] as const)("chooses for %s", (_what, wanted, fsType, size) => {
  expect(chooseCapacity({ range: wanted, blockSize: undefined, fsType })).toBe(size);
});

it.each([
  ["a limit below what is required", range(2n * gib, gib), ""],
  ["a negative size", range(-1n), ""],
  ["a limit that rounding up passes", range(gib + 1n, gib + 2n), ""],
  ["a limit below the least", range(mib, 200n * mib), "xfs"],
] as const)("has no size for %s", (_what, wanted, fsType) => {
  expect(() => chooseCapacity({ range: wanted, blockSize: undefined, fsType })).toThrow(expect.objectContaining({ code: Code.OutOfRange }));
});

it("rounds to the volume's own block size", () => {
  expect(chooseCapacity({ range: range(gib + 1n), blockSize: "131072", fsType: "" })).toBe(gib + 131_072n);
  expect(chooseCapacity({ range: range(gib + 1n), blockSize: "512", fsType: "" })).toBe(gib + 512n);
});

it("makes a volume at least as large as what it is made of", () => {
  const of = (wanted: csi.CapacityRange | undefined): bigint =>
    chooseCapacity({ range: wanted, blockSize: undefined, fsType: "", sourceBytes: 3n * gib });
  expect(of(undefined)).toBe(3n * gib);
  expect(of(range(gib))).toBe(3n * gib);
  expect(of(range(4n * gib))).toBe(4n * gib);
  expect(() => of(range(gib, 2n * gib))).toThrow("limit_bytes");
});

it("grows, never shrinks, and honours the limit", () => {
  expect(chooseExpansion(range(2n * gib), gib, undefined)).toBe(2n * gib);
  expect(chooseExpansion(range(gib), 2n * gib, undefined)).toBe(2n * gib);
  expect(() => chooseExpansion(range(gib, gib), 2n * gib, undefined)).toThrow("limit_bytes");
  expect(() => chooseExpansion(range(0n), gib, undefined)).toThrow("is required");
});

it("tells whether a size is in a range", () => {
  expect(isWithin(gib, undefined)).toBe(true);
  expect(isWithin(gib, range(gib, gib))).toBe(true);
  expect(isWithin(gib, range(gib + 1n))).toBe(false);
  expect(isWithin(gib, range(0n, gib - 1n))).toBe(false);
});
