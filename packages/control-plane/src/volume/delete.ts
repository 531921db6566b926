import { StorageError, type OperationId, type VolumeId } from "@zfsilo/lib";
import { requireCurrent } from "../reconcile/current.ts";
import type { VolumeRecord } from "../store/model.ts";
import { foreignInTheWay, foreignSnapshotsOf } from "../workflow/foreign-snapshots.ts";
import { deleteVolume } from "../workflow/delete-volume.ts";
import { dependantsOf, inUse, namesOf, requireUnchanged, type Dependant } from "./dependants.ts";
import { refuseHeld } from "./snapshot.ts";
import { inTurnOn, notNow, type RequestDeps } from "./volume-requests.ts";

/** What becomes of the snapshots of a volume that is deleted. */
export const snapshotPolicies = ["refuse", "delete", "promote_clone"] as const;
export type SnapshotPolicy = (typeof snapshotPolicies)[number];

type Plan = Pick<Parameters<(typeof deleteVolume.steps)[0]["do"]>[0], "promote" | "snapshots">;

export interface DeleteOptions {
  readonly snapshotPolicy?: SnapshotPolicy;
  /** Snapshots that others took on its dataset go with it. */
  readonly deleteForeign?: boolean;
}

/**
 * Answers the operation that did it, also to a call that repeats the one which did; undefined when there was no such volume
 * and that is allowed.
 */
export async function requestDelete(
  deps: RequestDeps,
  id: VolumeId,
  allowMissing: boolean,
  { snapshotPolicy = "refuse", deleteForeign = false }: DeleteOptions = {},
): Promise<OperationId | undefined> {
  const seen = await deps.volumes.find(id);
  const holds = seen === undefined ? [] : heldWith(await dependantsOf(deps, seen), snapshotPolicy);
  return deps.operations.submit(
    { subject: `volumes/${id}`, holds, kind: deleteVolume.kind, input: { allowMissing, snapshotPolicy, ...(deleteForeign && { deleteForeign }) } },
    // A clone that is promoted is held meanwhile, and may have to be forced off a host: it does not wait here.
    (begin, earlier) => inTurnOn(deps, snapshotPolicy === "promote_clone" ? undefined : seen?.hostId, async () => {
      const volume = await deps.volumes.find(id);
      if (volume === undefined) {
        const before = await earlier();
        if (before?.state === "succeeded") return before.id;
        if (allowMissing) return undefined;
        throw new StorageError("not_found", `volumes/${id} does not exist`, { details: { volume: `volumes/${id}` } });
      }
      if (volume.state !== "deleting") await requireCurrent(deps, volume);
      if (volume.published) {
        throw notNow(volume, "delete", "it is published", "Call UnpublishVolume first.");
      }
      const dependants = await dependantsOf(deps, volume);
      requireUnchanged(`delete volumes/${id}`, holds, heldWith(dependants, snapshotPolicy));
      const foreign = await foreignWith(deps, volume, dependants, { snapshotPolicy, deleteForeign });
      const plan = planFor(volume, dependants, snapshotPolicy);
      const origin = volume.origin === "" ? {} : { origin: volume.origin };
      return (await begin(deleteVolume, { volumeId: id, ...plan, foreign, ...origin })).operation;
    }),
  );
}

/** Its snapshots, and the clone that would take them over. */
function heldWith(all: readonly Dependant[], policy: SnapshotPolicy): string[] {
  const heir = policy === "promote_clone" ? heirOf(all) : undefined;
  return [...all.map(({ snapshot }) => `snapshots/${snapshot.id}`), ...(heir === undefined ? [] : [`volumes/${heir.clone}`])];
}

function planFor(volume: VolumeRecord, found: readonly Dependant[], policy: SnapshotPolicy): Plan {
  const doing = `delete volumes/${volume.id}`;
  // Tombstones whose last clone went by other hands than ours: nobody needs them.
  const forgotten = found.filter((one) => isForgotten(one)).map(({ snapshot }) => snapshot.id);
  const all = found.filter((one) => !isForgotten(one));
  if (all.length === 0) return { snapshots: forgotten };
  switch (policy) {
    case "refuse":
      throw inUse(doing, "HAS_SNAPSHOTS", namesOf(all), "Delete them first, or say in snapshot_policy what becomes of them.");
    case "delete":
      refuseNeeded(doing, all);
      return { snapshots: found.map(({ snapshot }) => snapshot.id) };
    case "promote_clone": {
      const heir = heirOf(all);
      const left = all.slice(heir === undefined ? 0 : heir.index + 1);
      if (heir === undefined || left.length > 0) {
        throw inUse(doing, "HAS_SNAPSHOTS", namesOf(left), "No clone can take these over: it takes those up to the one it was made of. Delete them first.");
      }
      return { promote: { volumeId: heir.clone, snapshotId: heir.snapshotId, origin: volume.origin }, snapshots: forgotten };
    }
  }
}

/**
 * What others took and would keep the zvol from being destroyed, looked for before anything of ours goes. Where nothing of ours
 * would, ZFS itself refuses, and the ordinary deletion needs no look. A clone that is promoted takes over what is older than it.
 */
async function foreignWith(
  deps: RequestDeps,
  volume: VolumeRecord,
  all: readonly Dependant[],
  { snapshotPolicy, deleteForeign }: Required<DeleteOptions>,
): Promise<{ name: string; guid: string }[]> {
  const destroysOurs = snapshotPolicy !== "refuse" && all.length > 0;
  if (!destroysOurs && !deleteForeign) return [];
  const heir = snapshotPolicy === "promote_clone" ? heirOf(all) : undefined;
  const from = heir === undefined ? 0n : BigInt(all[heir.index]?.snapshot.createTxg ?? "0");
  const found = await foreignSnapshotsOf(deps, volume, new AbortController().signal);
  const left = found.filter(({ createTxg }) => createTxg > from);
  const needed = left.filter(({ clones, holds }) => clones.length > 0 || holds > 0);
  if (left.length > 0 && !deleteForeign) throw foreignInTheWay(volume.id, left);
  if (needed.length > 0) throw foreignInTheWay(volume.id, needed);
  return left.map(({ name, guid }) => ({ name, guid }));
}

function isForgotten({ snapshot, clones }: Dependant): boolean {
  return snapshot.state === "tombstoned" && clones.length === 0;
}

function refuseNeeded(doing: string, all: readonly Dependant[]): void {
  const clones = all.flatMap((one) => one.clones.map((clone) => `volumes/${clone}`));
  if (clones.length > 0) throw inUse(doing, "HAS_CLONES", clones, "Delete them first, or set snapshot_policy to PROMOTE_CLONE.");
  for (const { snapshot } of all) {
    refuseHeld(`${doing}: snapshots/${snapshot.id} would go`, snapshot.holds);
    if (snapshot.groupId !== "") throw inUse(doing, "IN_GROUP", [`groupSnapshots/${snapshot.groupId}`], "A group goes as a whole: call DeleteGroupSnapshot.");
  }
}

/** A clone of the newest snapshot that has any: promoted, it takes over that one and all before it, and their clones with them. */
function heirOf(all: readonly Dependant[]): { readonly clone: VolumeId; readonly snapshotId: Dependant["snapshot"]["id"]; readonly index: number } | undefined {
  const index = all.findLastIndex(({ clones }) => clones.length > 0);
  const newest = all[index];
  const clone = newest?.clones[0];
  return newest === undefined || clone === undefined ? undefined : { clone, snapshotId: newest.snapshot.id, index };
}
