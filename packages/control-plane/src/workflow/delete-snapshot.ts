import { forward } from "@zfsilo/try";
import { z } from "zod";
import { snapshotId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";

const context = z.object({
  snapshotId,
  /** Let ZFS keep it until its last clone is gone. */
  tombstone: z.boolean(),
  outcome: z.enum(["destroyed", "deferred"]).optional(),
});

/**
 * Destroys a snapshot, never what depends on it. Only one with our marks and the recorded guid is destroyed; one that is gone
 * counts as destroyed only while its pool is imported (I3). A crash is resumed.
 */
export const deleteSnapshot = forward<z.infer<typeof context>, WorkflowDeps>("snapshot.delete", context, [
  {
    name: "destroy snapshot",
    async do({ snapshotId, tombstone }, { deps, signal }) {
      const row = await deps.snapshots.find(snapshotId);
      if (row === undefined) return { outcome: "destroyed" };
      const { snapshots } = await deps.machines.get(row.hostId);
      return { outcome: await snapshots.destroy(zfsNameOf(row), snapshotOwner(row, deps), { defer: tombstone }, { signal }) };
    },
  },
  {
    name: "forget snapshot",
    async do({ snapshotId, outcome }, { deps }) {
      if (outcome === "deferred") await deps.snapshots.update(snapshotId, { state: "tombstoned" });
      else await deps.snapshots.remove([snapshotId]);
      return undefined;
    },
  },
]);
