import { parentOf, parseDatasetName, type SnapshotName, type ZfsSnapshot } from "@zfsilo/host";
import type { HostId, SnapshotId } from "@zfsilo/lib";
import { lookAt } from "../machines/look.ts";
import type { ConditionRecord, HostRecord, SnapshotRecord } from "../store/model.ts";
import type { SnapshotChange } from "../store/stores.ts";
import { snapshotOwner, zfsNameOf } from "../workflow/snapshot-ownership.ts";
import type { ReconcileDeps } from "./apply.ts";
import { isChangedSince } from "./changed-since.ts";
import type { Observation } from "./observation.ts";

const batchSize = 200;

/**
 * Brings the records of snapshots up to what was seen of them: space, holds, and whether they are there. Nothing is ever made
 * anew (I3). A tombstone that ZFS has freed with its last clone is forgotten.
 */
export async function refreshSnapshots(deps: ReconcileDeps, hosts: readonly HostRecord[], seen: Observation, began: Date, signal: AbortSignal): Promise<void> {
  const batch = new Map<SnapshotId, SnapshotChange>();
  const gone: SnapshotId[] = [];
  const heldAnew: SnapshotRecord[] = [];
  for await (const row of deps.snapshots.each()) {
    if (!isJudged(row, hosts, seen) || isChangedSince(row, began) || deps.operations.openOn(`snapshots/${row.id}`) !== undefined) continue;
    const found = seen.targets.get(row.hostId)?.snapshots.get(zfsNameOf(row));
    if (found === undefined && row.state === "tombstoned") {
      gone.push(row.id);
      continue;
    }
    if (found !== undefined && found.holds !== row.holds.length) heldAnew.push(row);
    const change = changeOf(row, found, deps.clusterId);
    if (change === undefined) continue;
    batch.set(row.id, change);
    if (batch.size < batchSize) continue;
    await deps.snapshots.updateAll(batch);
    batch.clear();
  }
  await deps.snapshots.updateAll(batch);
  await deps.snapshots.remove(gone);
  await refreshHolds(deps, heldAnew, signal);
}

/** Only what lies under a parent that was read is told to be missing. */
function isJudged({ hostId, pool, dataset }: SnapshotRecord, hosts: readonly HostRecord[], seen: Observation): boolean {
  const parent = parentOf(parseDatasetName(dataset));
  const ref = hosts.find(({ id }) => id === hostId)?.pools.find((one) => one.name === pool && one.parentDataset === parent);
  return ref !== undefined && typeof seen.targets.get(hostId)?.pools.get(pool) === "object";
}

/** Pure. Undefined when all is as recorded. */
export function changeOf(row: SnapshotRecord, found: ZfsSnapshot | undefined, clusterId: string): SnapshotChange | undefined {
  const problem = problemOf(row, found, clusterId);
  const change: SnapshotChange = {
    ...(problem?.reason === row.condition?.reason && problem?.message === row.condition?.message
      ? {}
      : { condition: problem && { ...problem, observedAt: new Date() } }),
    ...(found === undefined || problem !== undefined || isSameSpace(row, found) ? {} : { space: spaceOf(found) }),
  };
  return Object.keys(change).length === 0 ? undefined : change;
}

function problemOf(row: SnapshotRecord, found: ZfsSnapshot | undefined, clusterId: string): Omit<ConditionRecord, "observedAt"> | undefined {
  if (found === undefined) return { reason: "SNAPSHOT_MISSING", message: `${zfsNameOf(row)} does not exist on hosts/${row.hostId}` };
  const { snapshot, cluster } = snapshotOwner(row, { clusterId });
  if (found.owner === snapshot && found.cluster === cluster && found.guid === row.zfsGuid) return undefined;
  return { reason: "FOREIGN_SNAPSHOT", message: `${found.name} has the guid ${found.guid}, not ${row.zfsGuid}, or not our marks` };
}

function isSameSpace({ space }: SnapshotRecord, found: ZfsSnapshot): boolean {
  return (
    space?.usedBytes === found.usedBytes && space.referencedBytes === found.referencedBytes && space.writtenBytes === found.writtenBytes
  );
}

function spaceOf({ usedBytes, referencedBytes, writtenBytes }: ZfsSnapshot): NonNullable<SnapshotRecord["space"]> {
  return { usedBytes, referencedBytes, writtenBytes, observedAt: new Date() };
}

/** ZFS lists only how many there are: which ones is asked of those alone whose number is another than recorded. */
async function refreshHolds(deps: ReconcileDeps, rows: readonly SnapshotRecord[], signal: AbortSignal): Promise<void> {
  await Promise.all(
    [...byHost(rows)].map(async ([hostId, ofHost]) => {
      const names = ofHost.map((row) => [row, zfsNameOf(row)] as const);
      const tags = await tagsOn(deps, hostId, names.map(([, name]) => name), signal);
      const changes = names.flatMap(([row, name]) => (tags === undefined ? [] : [[row.id, { holds: [...(tags.get(name) ?? [])].sort() }] as const]));
      await deps.snapshots.updateAll(new Map(changes));
    }),
  );
}

/** Undefined: the host went away since it was looked at, and the next look asks again. */
async function tagsOn(
  { machines }: ReconcileDeps,
  hostId: HostId,
  names: readonly SnapshotName[],
  signal: AbortSignal,
): Promise<ReadonlyMap<SnapshotName, readonly string[]> | undefined> {
  try {
    return await lookAt(hostId, signal, async (look) => (await machines.get(hostId)).snapshots.holds(names, look));
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

function byHost(rows: readonly SnapshotRecord[]): Map<HostId, SnapshotRecord[]> {
  const grouped = new Map<HostId, SnapshotRecord[]>();
  for (const row of rows) grouped.set(row.hostId, [...(grouped.get(row.hostId) ?? []), row]);
  return grouped;
}
