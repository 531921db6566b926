import { forward } from "@zfsilo/try";
import { z } from "zod";
import { groupSnapshotId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";

const context = z.object({ groupId: groupSnapshotId });

/** Destroys the snapshots of a group one after the other, and forgets them together. A crash is resumed. */
export const deleteGroupSnapshot = forward<z.infer<typeof context>, WorkflowDeps>("groupSnapshot.delete", context, [
  {
    name: "destroy snapshots",
    async do({ groupId }, { deps, signal }) {
      const group = await deps.groups.find(groupId);
      for (const id of group?.snapshotIds ?? []) {
        const row = await deps.snapshots.find(id);
        if (row === undefined) continue;
        const { snapshots } = await deps.machines.get(row.hostId);
        await snapshots.destroy(zfsNameOf(row), snapshotOwner(row, deps), {}, { signal });
      }
      return undefined;
    },
  },
  {
    name: "forget snapshots",
    async do({ groupId }, { deps }) {
      await deps.groups.remove(groupId);
      return undefined;
    },
  },
]);
