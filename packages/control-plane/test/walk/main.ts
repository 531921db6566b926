import * as fc from "fast-check";
import { parseArgs } from "node:util";
import { walks } from "./arbitrary.ts";
import { walk } from "./walk.ts";

/** `npm run test:walk -- --runs N --seed S`: random walks, the shortest failing one printed. */
const { values } = parseArgs({ options: { runs: { type: "string", default: "200" }, seed: { type: "string" } } });
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
console.log(`seed ${seed}`);
let made = 0;
let taken = 0;
const result = await fc.check(
  fc.asyncProperty(walks, async (steps) => {
    taken += 1;
    made += await walk(steps);
  }),
  { numRuns: Number(values.runs), seed, markInterruptAsFailure: true },
);
if (result.failed) {
  console.log(JSON.stringify(result.counterexample?.[0], undefined, 1));
  console.log(result.errorInstance);
}
console.log(`walks: ${taken}, calls: ${made}, failed: ${result.failed ? 1 : 0}`);
process.exitCode = result.failed ? 1 : 0;
