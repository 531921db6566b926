import { parseVolumeId } from "@zfsilo/lib";
import { expect, it } from "vitest";
import { requestMount, requestStage } from "../../src/volume/stage.ts";
import { expectWorldIs } from "../walk/check.ts";
import type { VolumeModel, WalkVolume } from "../walk/model.ts";
import { climb, take } from "../world/ladder.ts";
import { World } from "../world/world.ts";

const ids = ["vol_files", "vol_block"] as const;
const path = "/mnt/shared";

/** Volumes are locked one by one, paths are not: the one that comes second must not take the other's mount away. */
it.each([
  ["staged", "connected"],
  ["mounted", "staged"],
] as const)("two volumes %s at one path at once: one is, the other leaves it alone", async (_what, rung) => {
  for (let round = 0; round < 5; round += 1) {
    await using world = await World.open();
    for (const id of ids) await climb(world.requests, parseVolumeId(id), rung === "staged" && id === "vol_block" ? "block" : "ext4", rung);
    const attempts = ids.map((name) => {
      const id = parseVolumeId(name);
      return rung === "connected"
        ? requestStage(world.requests, id, { hostId: take, stagingPath: path, readOnly: false })
        : requestMount(world.requests, id, { hostId: take, targetPath: path, readOnly: false });
    });
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const models = ids.map((id, index): [WalkVolume, VolumeModel] => {
      const won = outcomes[index]?.status === "fulfilled";
      const here = rung === "connected" ? { staged: won, mounted: false } : { staged: true, mounted: won };
      return [id, { published: true, grown: false, attached: { hst_take: here } }];
    });
    await expectWorldIs(world, new Map(models), { content: false });
  }
});
