import { describe, expect, it } from "vitest";
import { atLeast, atMost, merge, type Findings, type Measure } from "./findings.ts";
import { short, toJson, toTables } from "./report.ts";

const echo: Measure = { name: "echo", unit: "ms", median: 0.5, p90: 1.25, samples: 300 };
const findings: Findings = {
  measures: [echo],
  ratios: [atMost("GetVolume / echo", 2.504, 2.5), atMost("idle", 120.4, 150, "MB"), atLeast("targetcli / publish", 7, 6)],
};

describe("limits", () => {
  it.each([
    { ratio: atMost("a", 2.5, 2.5), ok: true },
    { ratio: atMost("a", 2.51, 2.5), ok: false },
    { ratio: atLeast("a", 6, 6), ok: true },
    { ratio: atLeast("a", 5.9, 6), ok: false },
    { ratio: atMost("a", Number.NaN, 2.5), ok: false },
  ])("$ratio.value $ratio.bound $ratio.limit: $ok", ({ ratio, ok }) => {
    expect(ratio.ok).toBe(ok);
  });
});

it("prints a table of measures and one of ratios", () => {
  expect(toTables(findings)).toBe(
    [
      "| measure |  median |    90 % | samples |",
      "| ------- | ------: | ------: | ------: |",
      "| echo    | 0.50 ms | 1.25 ms |     300 |",
      "",
      "| ratio               |  value |          limit |        |",
      "| ------------------- | -----: | -------------: | -----: |",
      "| GetVolume / echo    |   2.50 |    at most 2.5 | MISSED |",
      "| idle                | 120 MB | at most 150 MB |     ok |",
      "| targetcli / publish |   7.00 |     at least 6 |     ok |",
      "",
    ].join("\n"),
  );
});

it("leaves out a table without rows", () => {
  expect(toTables({ measures: [echo], ratios: [] })).not.toContain("ratio");
});

describe("JSON", () => {
  it("has ratios with name, value, limit and ok, and the measures", () => {
    const read = JSON.parse(toJson(findings)) as Findings;
    expect(read.ratios[0]).toMatchObject({ name: "GetVolume / echo", value: 2.504, limit: 2.5, ok: false });
    expect(read.measures).toEqual([echo]);
  });

  it("is refused rather than written with a null", () => {
    expect(() => toJson({ measures: [], ratios: [atMost("a", Number.NaN, 1)] })).toThrow("a is NaN");
  });
});

it.each([
  [0.1234, "0.12"],
  [9.876, "9.88"],
  [12.34, "12.3"],
  [1234.5, "1235"],
])("shortens %d to %s", (value, text) => {
  expect(short(value)).toBe(text);
});

it("keeps findings in the order they came", () => {
  expect(merge([findings, { measures: [], ratios: [atMost("last", 1, 2)] }]).ratios.map(({ name }) => name)).toEqual([
    "GetVolume / echo",
    "idle",
    "targetcli / publish",
    "last",
  ]);
});
