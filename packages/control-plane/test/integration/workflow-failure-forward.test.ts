import { workflows } from "../../src/workflow/workflows.ts";
import { cases } from "../world/cases.ts";
import { describeFailures } from "../world/suite.ts";

await describeFailures(cases.filter(({ kind }) => workflows.get(kind)?.direction === "forward"));
