import { describe, expect, it } from "vitest";
import { requestCopy } from "../../src/volume/copy.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestRollback } from "../../src/volume/rollback.ts";
import { requestCreateSnapshot } from "../../src/volume/snapshot.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import { climb, copy, copyInput, first, snapshotInput, subject } from "../world/ladder.ts";
import { World } from "../world/world.ts";

/** A copy of a volume may take hours, in which the volume is used: but its snapshot must not move, go, or be in nobody's way. */
describe("while a volume is copied", () => {
  it.each([
    ["it is not deleted", (r: RequestDeps) => requestDelete(r, subject, false)],
    ["it is not deleted with its snapshots", (r: RequestDeps) => requestDelete(r, subject, false, { snapshotPolicy: "delete" })],
    ["no clone takes its snapshots over", (r: RequestDeps) => requestDelete(r, subject, false, { snapshotPolicy: "promote_clone" })],
    ["it is not rolled back", (r: RequestDeps) => requestRollback(r, subject, { snapshotId: first, destroyLater: true })],
  ])("%s, and the caller is told what it waits for", async (_what, request) => {
    await using world = await World.open();
    await climb(world.requests, subject, "block", "initial");
    await requestCreateSnapshot(world.requests, snapshotInput(first));
    let beside: Promise<unknown> | undefined;
    let operation = "";
    world.hooks.step = async (entry, step, work) => {
      if (step !== "copy snapshot") return work();
      operation = entry.id;
      beside ??= request(world.requests).catch((error: unknown) => error);
      await beside;
      return work();
    };
    await requestCopy(world.requests, copyInput({ kind: "volume", id: subject, copyMode: "full" }));
    expect(await beside).toMatchObject({ reason: "aborted", details: { operation: `operations/${operation}` } });
    const { volumes, snapshots } = world.now.stores;
    expect((await volumes.get(copy)).state).toBe("ready");
    const { hostId, dataset } = await volumes.get(subject);
    expect((await snapshots.ofDataset(hostId, dataset)).map(({ id }) => id)).toEqual([first]);
  });

  it("a snapshot of it is taken as ever", async () => {
    await using world = await World.open();
    await climb(world.requests, subject, "block", "initial");
    let taken: Promise<unknown> | undefined;
    world.hooks.step = async (_entry, step, work) => {
      if (step === "copy snapshot") await (taken ??= requestCreateSnapshot(world.requests, snapshotInput(first)));
      return work();
    };
    await requestCopy(world.requests, copyInput({ kind: "volume", id: subject, copyMode: "full" }));
    expect(await taken).toMatchObject({ snapshot: { state: "ready" } });
  });
});
