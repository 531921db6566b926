import { describe, expect, it } from "vitest";
import { checkDisplayName, checkLabels } from "./text-rules.ts";

describe("display names", () => {
  it.each(["data", "Données 2026", "базы данных", "データ", "❤️ photos", "a\u00a0b", ""])("%j is taken", (name) => {
    expect(checkDisplayName(name, "display_name")).toBe(name);
  });

  it.each([
    ["turns text around", "a\u202eb", "U+202E"],
    ["isolates text", "a\u2066b", "U+2066"],
    ["has no width", "a\u200bb", "U+200B"],
    ["joins nothing", "a\u200d", "U+200D"],
    ["marks a byte order", "\ufeffa", "U+FEFF"],
    ["is a soft hyphen", "a\u00adb", "U+00AD"],
    ["fills in Hangul", "\u3164", "U+3164"],
    ["ends a line", "a\u2028b", "U+2028"],
    ["is a tag", "a\u{e0041}", "U+E0041"],
  ])("one that %s is refused", (_what, name, code) => {
    expect(() => checkDisplayName(name, "volume.display_name")).toThrow(`volume.display_name: has the invisible character ${code}`);
  });

  it("one with a control character or half a character is refused", () => {
    expect(() => checkDisplayName("a\nb", "display_name")).toThrow("control character");
    expect(() => checkDisplayName("a\ud800", "display_name")).toThrow("not valid Unicode");
  });
});

it("values of labels follow the same rule", () => {
  expect(() => checkLabels({ owner: "a\u202eb" }, "labels")).toThrow("labels.owner: has the invisible character U+202E");
});
