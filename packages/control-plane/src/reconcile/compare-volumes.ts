import type { HostId, VolumeId } from "@zfsilo/lib";
import type { Operations } from "../operation/operations.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";
import { compareVolume, type Difference } from "./compare.ts";
import { observeHosts, observeVolume } from "./observe.ts";

export interface CompareDeps extends WorkflowDeps {
  readonly operations: Pick<Operations<WorkflowDeps>, "openOn">;
}

/** Reads one volume's real state back, records its condition and tells how hosts differ from the record. Repairs nothing. */
export async function compareOne(
  deps: CompareDeps,
  volume: VolumeRecord,
  signal: AbortSignal,
): Promise<{ volume: VolumeRecord; differences: readonly Difference[] }> {
  const seen = await observeVolume(deps, volume, signal);
  const differences = compareVolume(volume, seen, deps.clusterId);
  return { volume: await recordCondition(deps, volume, differences), differences };
}

export interface ManyCompared {
  readonly checked: number;
  /** Only those that differ. */
  readonly volumes: readonly { readonly id: VolumeId; readonly differences: readonly Difference[] }[];
  readonly unreachable: readonly HostId[];
}

/** The same for every volume a filter matches, with one look at each host. Volumes of hosts that did not answer are not judged. */
export async function compareMany(deps: CompareDeps, filter: string, signal: AbortSignal): Promise<ManyCompared> {
  const hosts = await deps.hosts.all();
  const began = new Date();
  const seen = await observeHosts(deps, hosts, signal);
  const unreachable = hosts
    .filter(({ id, roles }) => {
      const target = roles.includes("target") && !seen.targets.has(id);
      return target || (roles.includes("initiator") && !seen.initiators.has(id));
    })
    .map(({ id }) => id);
  const volumes: { id: VolumeId; differences: readonly Difference[] }[] = [];
  let checked = 0;
  for await (const volume of deps.volumes.each(filter)) {
    // One that an operation works on is between two states by intention; one changed since may not be as it was seen.
    if (deps.operations.openOn(`volumes/${volume.id}`) !== undefined || volume.updatedAt >= began) continue;
    checked += 1;
    const differences = compareVolume(volume, seen, deps.clusterId).filter(({ reason }) => reason !== "HOST_UNREACHABLE");
    if (!unreachable.includes(volume.hostId)) await recordCondition(deps, volume, differences);
    if (differences.length > 0) volumes.push({ id: volume.id, differences });
  }
  return { checked, volumes, unreachable };
}

async function recordCondition(
  deps: CompareDeps,
  volume: VolumeRecord,
  differences: readonly Difference[],
): Promise<VolumeRecord> {
  const [first] = differences;
  const message = differences.map(({ host, reason, observed }) => `${host}: ${reason} (${observed})`).join("; ");
  if (first === undefined && volume.condition === undefined) return volume;
  if (first?.reason === volume.condition?.reason && message === volume.condition?.message) return volume;
  const condition = first === undefined ? undefined : { reason: first.reason, message, observedAt: new Date() };
  return deps.volumes.update(volume.id, { condition });
}
