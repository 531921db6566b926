import { expect, it } from "vitest";
import { shortened } from "./shortened.ts";

it("leaves alone what is short enough", () => {
  expect(shortened("ü".repeat(32), 64)).toBe("ü".repeat(32));
});

it.each(["x", "ü", "€", "\u{1f600}"])("cuts between two of %s and says so", (character) => {
  for (let max = 60; max < 70; max += 1) {
    const text = shortened(character.repeat(1000), max);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(max);
    expect(text).toMatch(new RegExp(`^(?:${character})+ … \\(\\d+ bytes in all\\)$`, "u"));
  }
});
