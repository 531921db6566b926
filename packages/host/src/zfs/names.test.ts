import { describe, expect, it } from "vitest";
import { parentOf, parseDatasetName, parsePoolName, poolOf } from "./names.ts";

describe("parseDatasetName", () => {
  it.each(["tank", "tank/zfsilo", "tank/zfsilo/0123456789abcdef", "t/A-b_c.d:e", `tank/${"x".repeat(250)}`])("takes %s", (name) => {
    expect(parseDatasetName(name)).toBe(name);
  });

  it.each([
    ["", "does not begin with a letter"],
    ["-tank/z", "does not begin with a letter"],
    ["1tank", "does not begin with a letter"],
    ["/tank", "does not begin with a letter"],
    ["tank/", "empty component"],
    ["tank//z", "empty component"],
    ["tank/../z", 'component ".."'],
    ["tank/-r", "begins with '-'"],
    ["tank/z@s", "snapshot"],
    ["tank/z#b", "bookmark"],
    ["tank/a b", "character"],
    ["tank/a%b", "character"],
    ["tank/a\nb", "character"],
    ["mirror-0/z", "reserves"],
    [`tank/${"x".repeat(251)}`, "longer than 255"],
  ])("refuses %j", (name, problem) => {
    expect(() => parseDatasetName(name, "volume.dataset")).toThrow(problem);
    expect(() => parseDatasetName(name, "volume.dataset")).toThrow(/^volume\.dataset: /);
  });

  it("knows its pool and parent", () => {
    expect(poolOf(parseDatasetName("tank/a/b"))).toBe("tank");
    expect(parentOf(parseDatasetName("tank/a/b"))).toBe("tank/a");
    expect(parentOf(parseDatasetName("tank"))).toBeUndefined();
  });

  it.each(["", "-p", "tank/z", "log", "tan k"])("refuses the pool %j", (name) => {
    expect(() => parsePoolName(name)).toThrow(/^pool: /);
  });
});
