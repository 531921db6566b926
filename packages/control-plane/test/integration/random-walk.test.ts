import * as fc from "fast-check";
import { expect, it } from "vitest";
import { walks } from "../walk/arbitrary.ts";
import { keptWalks } from "../walk/kept.ts";
import { walk } from "../walk/walk.ts";

it.each(keptWalks)("kept: $name", async ({ steps }) => {
  expect(await walk(steps)).toBeGreaterThan(0);
});

it("random walks of calls, faults, crashes, power cuts and concurrent callers end where the model does", { timeout: 600_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`random walks: seed ${seed}; npm run test:walk -- --runs 60 --seed ${seed} takes them again`);
  await fc.assert(
    fc.asyncProperty(walks, async (steps) => {
      await walk(steps);
    }),
    { numRuns: 60, seed },
  );
});
