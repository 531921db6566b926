import * as fc from "fast-check";
import { parseArgs } from "node:util";
import { walks } from "./arbitrary.ts";
import { treeWalks } from "./tree-arbitrary.ts";
import { walkTree } from "./tree-walk.ts";
import { walk } from "./walk.ts";

/** `npm run test:walk -- [--tree] --runs N --seed S`: random walks, the shortest failing one printed. */
const { values } = parseArgs({ options: { tree: { type: "boolean", default: false }, runs: { type: "string", default: "200" }, seed: { type: "string" } } });
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
console.log(`seed ${seed}`);
let made = 0;
let taken = 0;

async function check<S>(steps: fc.Arbitrary<S>, take: (steps: S) => Promise<number>): Promise<void> {
  const property = fc.asyncProperty(steps, async (some) => {
    taken += 1;
    made += await take(some);
  });
  const result = await fc.check(property, { numRuns: Number(values.runs), seed, markInterruptAsFailure: true });
  if (result.failed) {
    console.log(JSON.stringify(result.counterexample?.[0], undefined, 1));
    console.log(result.errorInstance);
  }
  console.log(`walks: ${taken}, calls: ${made}, failed: ${result.failed ? 1 : 0}`);
  process.exitCode = result.failed ? 1 : 0;
}

await (values.tree ? check(treeWalks, walkTree) : check(walks, walk));
