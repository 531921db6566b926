import { StorageError } from "@zfsilo/lib";
import { repairClaimed, type Scope } from "../reconcile/apply.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { Answer } from "./answer.ts";
import type { BeginWorkflow, RequestDeps } from "./volume-requests.ts";

/** What is there is enough: the volume is as a larger call left it, or the pool has grown beneath it. */
const harmless: ReadonlySet<string> = new Set(["ZVOL_LARGER", "TARGET_UNEXPECTED", "PORTAL_OUTDATED", "INITIATOR_RENAMED"]);

/**
 * A call asked for what the record says is so, and a host says otherwise, as after its reboot. The hosts in `scope` are brought
 * back to the record as the reconciler does it; what is left there is why the call fails.
 */
export async function repairFor(deps: RequestDeps, volume: VolumeRecord, begin: BeginWorkflow, scope: Scope): Promise<Answer> {
  const done = await repairClaimed(deps, volume, begin, { scope });
  if (done.failure !== undefined) throw done.failure;
  const [unseen] = done.unseen;
  if (unseen !== undefined) {
    const { host, reason, observed } = unseen;
    throw new StorageError("unavailable", `look at volumes/${volume.id} on ${host}: ${observed}`, {
      details: { volume: `volumes/${volume.id}`, host, reason },
      hint: "Repeat the call when the host can be read again.",
    });
  }
  const left = done.findings.find(({ outcome, reason }) => outcome === "left" && !harmless.has(reason));
  if (left === undefined) return { volume: done.volume, operation: done.operation };
  const { host, reason, explanation } = left;
  throw new StorageError("precondition", `volumes/${volume.id} is ${reason} on ${host}`, {
    details: { volume: `volumes/${volume.id}`, host, reason },
    hint: `SyncVolume shows all of it: ${explanation}.`,
  });
}

/** While a volume has a condition all of it is looked at, so that a call that answers well never leaves one behind that is over. */
export function isSound({ condition }: VolumeRecord): boolean {
  return condition === undefined;
}

/** Mounts, and what is mounted, are brought back by the calls that are about them. */
export function butMounts(scope: Scope): Scope {
  return (difference) => scope(difference) && !difference.reason.endsWith("_MOUNT_MISSING") && difference.reason !== "FILESYSTEM_READ_ONLY";
}

/** What concerns the volume's target, and one of its initiators when named. */
export function onHosts(volume: VolumeRecord, ...initiators: readonly string[]): Scope {
  const names = new Set([volume.hostId, ...initiators].map((id) => `hosts/${id}`));
  return ({ host }) => names.has(host);
}
