import { expect, it } from "vitest";
import { workflows } from "../../src/workflow/workflows.ts";
import { cases } from "../world/cases.ts";
import { describeFailures } from "../world/suite.ts";

it("knows every workflow that may stand in the journal", () => {
  // Deleting an orphan is about no volume: orphans.test.ts.
  expect([...new Set(cases.map(({ kind }) => kind)), "orphan.delete"].sort()).toEqual([...workflows.keys()].sort());
});

await describeFailures(cases.filter(({ kind }) => workflows.get(kind)?.direction === "build-up"));
