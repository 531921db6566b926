import { parseDatasetName, parseHostPath, parseIqn, parseSnapshotName, type Iqn } from "@zfsilo/host";
import { assertNever, parseVolumeHandle, StorageError } from "@zfsilo/lib";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import { hostId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { endStaleSession } from "./stale-session.ts";

/** What is needed to remove each kind, found when it was looked at last. */
const remains = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("dataset"), dataset: z.string(), volume: z.string(), guid: z.string() }),
  z.object({ kind: z.literal("snapshot"), snapshot: z.string(), mark: z.string(), guid: z.string() }),
  z.object({ kind: z.literal("export"), handle: z.string(), target: z.string() }),
  z.object({ kind: z.literal("acl"), target: z.string(), initiator: z.string() }),
  z.object({ kind: z.literal("session"), target: z.string() }),
  z.object({ kind: z.literal("node_record"), target: z.string() }),
  z.object({ kind: z.literal("mount"), path: z.string(), majorMinor: z.string(), /** Whose session shows its disk. */ target: z.string().optional() }),
]);

export type Remains = z.infer<typeof remains>;

const context = z.object({ hostId, remains });
type Context = z.infer<typeof context>;

/** Removes what no record explains, asked for by name and guid. What is gone already is done; a crash is resumed. */
export const deleteOrphan = forward<Context, WorkflowDeps>("orphan.delete", context, [{ name: "remove orphan", do: remove }]);

/** While a dead session is there the kernel holds its disk, and unmounting hangs. Its other mounts stay, and stay listed. */
async function endDeadSession({ iscsi }: Pick<Machine, "iscsi">, target: Iqn, signal: AbortSignal): Promise<void> {
  const session = await iscsi.findSession({ target }, { signal });
  if (session !== undefined && session.state !== "LOGGED_IN") await iscsi.abandonSession({ target }, { signal });
}

async function remove(c: Context, { deps, signal }: StepIo<WorkflowDeps>): Promise<undefined> {
  const { zfs, snapshots, lio, iscsi, mounts, ...machine } = await deps.machines.get(c.hostId);
  const it = c.remains;
  switch (it.kind) {
    case "dataset":
      // Snapshots and clones keep it: nothing that depends on it is ever destroyed along.
      await zfs.destroyOwnedVolume(parseDatasetName(it.dataset), { volume: it.volume, cluster: deps.clusterId, guid: it.guid }, { signal });
      return;
    case "snapshot":
      await snapshots.destroy(parseSnapshotName(it.snapshot), { snapshot: it.mark, cluster: deps.clusterId, guid: it.guid }, {}, { signal });
      return;
    case "export":
      await lio.removeExport({ handle: parseVolumeHandle(it.handle), target: parseIqn(it.target) }, { signal });
      return;
    case "acl":
      await lio.removeInitiator(parseIqn(it.target), parseIqn(it.initiator), { signal });
      return;
    case "session":
      await endStaleSession({ ...machine, zfs, snapshots, lio, iscsi, mounts }, { targetName: it.target }, signal);
      return;
    case "node_record":
      await iscsi.removeRecordsOf(parseIqn(it.target), { signal });
      return;
    case "mount": {
      const path = parseHostPath(it.path);
      const found = await mounts.find(path, { signal });
      if (found === undefined) return;
      if (found.majorMinor !== it.majorMinor) throw new StorageError("precondition", `${path} shows something else by now`);
      if (it.target !== undefined) await endDeadSession({ iscsi }, parseIqn(it.target), signal);
      await mounts.unmount(path, { signal });
      return;
    }
    default:
      return assertNever(it);
  }
}
