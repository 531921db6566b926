import { describe, expect, it } from "vitest";
import { bytes, formatBytes, parseBytes, roundUp } from "./bytes.ts";

describe("parseBytes", () => {
  it.each([
    ["0", 0n],
    ["67108864", 67_108_864n],
    ["9223372036854775807", 2n ** 63n - 1n],
  ])("reads %s exactly", (text, value) => {
    expect(parseBytes(text)).toBe(value);
  });

  it.each(["", "-1", "1.5G", "1e3", " 1", "9223372036854775808", "99999999999999999999"])("refuses %j", (text) => {
    expect(() => parseBytes(text)).toThrow(expect.objectContaining({ reason: "invalid_argument" }));
  });
});

it.each([
  [0n, 0n],
  [1n, 16_384n],
  [16_384n, 16_384n],
  [16_385n, 32_768n],
])("roundUp(%s) is %s in blocks of 16 KiB", (size, rounded) => {
  expect(roundUp(bytes(size), 16_384n)).toBe(rounded);
});

it("refuses to round past the largest size", () => {
  expect(() => roundUp(bytes(2n ** 63n - 1n), 16_384n)).toThrow("2^63-1");
});

it.each([
  [0n, "0 B"],
  [1536n, "1.5 KiB"],
  [2n ** 40n, "1 TiB"],
])("shows %s as %s", (size, text) => {
  expect(formatBytes(size)).toBe(text);
});
