import { create, toBinary } from "@bufbuild/protobuf";
import { csi } from "@zfsilo/api";
import { expect, it } from "vitest";
import { pageThatFits } from "./list-volumes.ts";

it.each([
  // Conditions of some KiB each.
  ["ends a page early that would be too large for a client", 1000, 16_384, 63],
  ["leaves a page alone that is not", 1000, 100, 1000],
  ["gives one entry, however large", 1, 8 << 20, 1],
])("%s", async (_what, size, bytes, entries) => {
  const entry = { status: { volumeCondition: { abnormal: true, message: "x".repeat(bytes) } } };
  const answer = await pageThatFits(csi.ListVolumesResponseSchema, size, (asked) =>
    Promise.resolve(create(csi.ListVolumesResponseSchema, { entries: Array.from({ length: asked }, () => entry), nextToken: `after ${asked}` })),
  );
  expect(answer.entries).toHaveLength(entries);
  expect(answer.nextToken).toBe(`after ${entries}`);
  if (entries > 1) expect(toBinary(csi.ListVolumesResponseSchema, answer).length).toBeLessThan(4 << 20);
});
