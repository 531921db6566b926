import * as fc from "fast-check";
import { expect, it } from "vitest";
import { walks } from "../walk/arbitrary.ts";
import { keptTrees } from "../walk/kept-trees.ts";
import { keptWalks } from "../walk/kept.ts";
import { treeWalks } from "../walk/tree-arbitrary.ts";
import { walkTree } from "../walk/tree-walk.ts";
import { walk } from "../walk/walk.ts";

it.each(keptWalks)("kept: $name", async ({ steps }) => {
  expect(await walk(steps)).toBeGreaterThan(0);
});

it.each(keptTrees)("kept: $name", async ({ steps }) => {
  expect(await walkTree(steps)).toBeGreaterThan(0);
});

it("random walks of calls, faults, crashes, power cuts and concurrent callers end where the model does", { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`random walks: seed ${seed}; npm run test:walk -- --runs 60 --seed ${seed} takes them again`);
  await check(walks, walk, seed);
});

it("random trees of snapshots, clones, copies and groups lose nothing, and can be deleted until nothing is left", { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`random trees: seed ${seed}; npm run test:walk -- --tree --runs 60 --seed ${seed} takes them again`);
  await check(treeWalks, walkTree, seed);
});

async function check<S>(steps: fc.Arbitrary<S>, take: (steps: S) => Promise<unknown>, seed: number): Promise<void> {
  const property = fc.asyncProperty(steps, async (some) => {
    await take(some);
  });
  await fc.assert(property, { numRuns: 60, seed });
}
