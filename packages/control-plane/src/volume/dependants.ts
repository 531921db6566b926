import { StorageError, type VolumeId } from "@zfsilo/lib";
import type { SnapshotRecord, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";

type Deps = Pick<WorkflowDeps, "volumes" | "snapshots">;

/** A snapshot of a volume's zvol, and what stands on it. */
export interface Dependant {
  readonly snapshot: SnapshotRecord;
  /** Thin clones, in any state. */
  readonly clones: readonly VolumeId[];
}

/** Everything that keeps a volume's zvol from being destroyed, oldest snapshot first. */
export async function dependantsOf({ volumes, snapshots }: Deps, { hostId, dataset }: Pick<VolumeRecord, "hostId" | "dataset">): Promise<Dependant[]> {
  const rows = await snapshots.ofDataset(hostId, dataset);
  const clones = await volumes.clonesOf(rows.map(({ id }) => id));
  return rows.map((snapshot) => ({ snapshot, clones: clones.get(snapshot.id) ?? [] }));
}

/**
 * Resource names, in the words of the API. A tombstone is nobody's any more: its clones stand for it. One that is being taken is not
 * there yet for anybody: its operation keeps others off.
 */
export function namesOf(dependants: readonly Dependant[]): string[] {
  return dependants.flatMap(({ snapshot, clones }) => [
    ...(snapshot.state === "ready" ? [`snapshots/${snapshot.id}`] : []),
    ...clones.map((id) => `volumes/${id}`),
  ]);
}

const mostNamed = 20;

/** An error's details travel in headers, which have room for little. */
export function listed(names: readonly string[]): string {
  const more = names.length - mostNamed;
  return more > 0 ? `${names.slice(0, mostNamed).join(", ")} and ${more} more` : names.join(", ");
}

/** Refuses because others need it, naming them. */
export function inUse(doing: string, reason: string, names: readonly string[], hint: string): StorageError {
  return new StorageError("has_dependents", `${doing}: needed by ${listed(names)}`, {
    details: { reason, dependants: listed(names) },
    hint,
  });
}

/** Between the first look and the claim somebody took or deleted a snapshot: what is held by then is not all there is. */
export function requireUnchanged(doing: string, held: readonly string[], now: readonly string[]): void {
  const missing = now.filter((name) => !held.includes(name));
  if (missing.length === 0) return;
  throw new StorageError("aborted", `${doing}: ${listed(missing)} came meanwhile`, { hint: "Look at it again, and repeat the call." });
}
