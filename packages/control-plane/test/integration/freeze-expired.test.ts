import { expect, it } from "vitest";
import { requestCreateGroupSnapshot } from "../../src/volume/group-snapshot.ts";
import { requestCreateSnapshot } from "../../src/volume/snapshot.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import { bystander, climb, first, groupInput, snapshotInput, stagingPathOf, subject } from "../world/ladder.ts";
import { pictureOf } from "../world/picture.ts";
import { World } from "../world/world.ts";

const signal = new AbortController().signal;

it.each([
  ["snapshot", (r: RequestDeps) => requestCreateSnapshot(r, snapshotInput(first, "filesystem"))],
  ["group of snapshots", (r: RequestDeps) => requestCreateGroupSnapshot(r, groupInput("filesystem"))],
])("a %s whose filesystem was thawed before it was taken fails, and leaves nothing", async (_what, request) => {
  await using world = await World.open();
  for (const id of [subject, bystander]) await climb(world.requests, id, "ext4", "mounted");
  const before = await pictureOf(world);
  const take = world.sim.executor("hst_take");
  let thawed = 0;
  world.hooks.command = async (host, work) => {
    // As its host does when the limit is over: in between the freeze and what it was for.
    if (host === "hst_give") {
      const { exitCode } = await take.run(["fsfreeze", "--unfreeze", stagingPathOf(subject)], { signal });
      if (exitCode === 0) thawed += 1;
    }
    return work();
  };
  await expect(request(world.requests)).rejects.toMatchObject({ reason: "timeout", cause: { details: { reason: "FREEZE_EXPIRED" } } });
  expect(thawed).toBe(1);
  world.hooks.command = undefined;
  expect(await pictureOf(world)).toEqual(before);
  await request(world.requests);
});
