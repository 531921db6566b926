import { parseHoldTag } from "@zfsilo/host";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { snapshotId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";

const context = z.object({ snapshotId, tag: z.string() });
type Context = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/** Keeps a snapshot under a tag. Held already is done; a crash is resumed. */
export const holdSnapshot = forward<Context, WorkflowDeps>("snapshot.hold", context, [
  { name: "hold", do: hold },
  { name: "record holds", do: recordHolds },
]);

/** Takes a tag off. Off already is done; a crash is resumed. */
export const releaseSnapshot = forward<Context, WorkflowDeps>("snapshot.release", context, [
  { name: "release", do: release },
  { name: "record holds", do: recordHolds },
]);

async function hold({ snapshotId, tag }: Context, { deps, signal }: Io): Promise<undefined> {
  const row = await deps.snapshots.get(snapshotId);
  const { snapshots } = await deps.machines.get(row.hostId);
  const name = zfsNameOf(row);
  snapshots.requireOwner(await snapshots.get(name, { signal }), snapshotOwner(row, deps));
  await snapshots.hold(name, parseHoldTag(tag), { signal });
}

async function release({ snapshotId, tag }: Context, { deps, signal }: Io): Promise<undefined> {
  const row = await deps.snapshots.get(snapshotId);
  const { snapshots } = await deps.machines.get(row.hostId);
  const name = zfsNameOf(row);
  snapshots.requireOwner(await snapshots.get(name, { signal }), snapshotOwner(row, deps));
  await snapshots.release(name, parseHoldTag(tag), { signal });
}

/** As the host has them, tags that somebody else set included: they keep it as well. */
async function recordHolds({ snapshotId }: Context, { deps, signal }: Io): Promise<undefined> {
  const row = await deps.snapshots.get(snapshotId);
  const { snapshots } = await deps.machines.get(row.hostId);
  const name = zfsNameOf(row);
  const tags = (await snapshots.holds([name], { signal })).get(name) ?? [];
  await deps.snapshots.update(snapshotId, { holds: [...tags].sort() });
}
