import { parentOf, parseDatasetName, poolOf } from "@zfsilo/host";
import { invalidField, newVolumeHandle, StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { AuthenticationMode, HostRecord, VolumeMode, VolumeRecord } from "../store/model.ts";
import { adoptVolume, type AdoptVolumeContext } from "../workflow/adopt-volume.ts";
import { targetNameOf } from "../workflow/ownership.ts";
import type { Answer } from "./answer.ts";
import { alreadySo, hostInRole, notNow, runOn, type RequestDeps } from "./volume-requests.ts";

/** A checked AdoptVolume request. */
export interface AdoptVolumeInput {
  readonly id: VolumeId;
  readonly hostId: HostId;
  readonly dataset: string;
  readonly guid: string;
  readonly replaceMarks: boolean;
  /** What a volume is made with; a volume that is there keeps what it has. */
  readonly made: {
    readonly displayName: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly mode: VolumeMode;
    readonly mountOptions: readonly string[];
    readonly authentication: AuthenticationMode;
  };
}

/** One zvol becomes one volume's, however many ask at once: its name is held beside the volume's. */
export async function requestAdopt(deps: RequestDeps, input: AdoptVolumeInput): Promise<Answer> {
  const { id, hostId, dataset } = input;
  const request = { subject: `volumes/${id}`, holds: [`zvols/${hostId}/${dataset}`], kind: adoptVolume.kind, input };
  return deps.operations.submit(request, async (begin) => {
    const host = await hostInRole(deps, hostId, "target", "host");
    const place = placeOf(host, dataset);
    await refuseTaken(deps, input);
    const volume = await deps.volumes.find(id);
    const context = { volumeId: id, hostId, ...place, guid: input.guid, replaceMarks: input.replaceMarks };
    if (volume === undefined) return runOn(deps, id, begin, adoptVolume, { ...context, made: newVolume(deps, input) });
    if (volume.state === "ready" && volume.hostId === hostId && volume.dataset === dataset && volume.zvolGuid === input.guid) return alreadySo(volume);
    await requireReplaceable(deps, volume, input);
    const { pool, zvolGuid, capacityBytes, generation } = volume;
    const formatted = volume.filesystem?.formatted === true;
    const replaces = { pool, dataset: volume.dataset, zvolGuid, capacityBytes, generation, formatted };
    return runOn(deps, id, begin, adoptVolume, { ...context, replaces });
  });
}

function newVolume(deps: RequestDeps, { made, ...asked }: AdoptVolumeInput): NonNullable<AdoptVolumeContext["made"]> {
  const handle = newVolumeHandle();
  return {
    ...made,
    labels: { ...made.labels },
    mountOptions: [...made.mountOptions],
    handle,
    targetName: targetNameOf(deps.iqnPrefix, handle),
    requestFingerprint: fingerprint({ ...asked, made }),
  };
}

/** Volumes are looked for directly under the parents of the host's pools, and nowhere else. */
function placeOf(host: HostRecord, name: string): { readonly pool: string; readonly dataset: string } {
  const dataset = parseDatasetName(name, "dataset");
  const parents = host.pools.map(({ parentDataset }) => parentDataset);
  if (parents.includes(parentOf(dataset) ?? "")) return { pool: poolOf(dataset), dataset };
  const example = parents.find((parent) => parent.startsWith(`${poolOf(dataset)}/`)) ?? parents[0] ?? "PARENT";
  throw invalidField(
    "dataset",
    `${dataset} is not directly under ${parents.join(" or ")}`,
    `Move it there first: \`zfs rename ${dataset} ${example}/NAME\`, or \`zfs send\` and \`zfs receive\` from another pool.`,
  );
}

async function refuseTaken(deps: RequestDeps, { id, hostId, dataset }: AdoptVolumeInput): Promise<void> {
  for await (const other of deps.volumes.identities()) {
    if (other.id === id || other.hostId !== hostId || other.dataset !== dataset) continue;
    throw new StorageError("precondition", `dataset: ${dataset} is the zvol of volumes/${other.id}`, {
      details: { field: "dataset", volume: `volumes/${other.id}` },
      hint: "A zvol belongs to one volume. Use that one.",
    });
  }
}

/** Only the zvol that is missing or foreign is replaced, and only while nobody uses the volume. */
async function requireReplaceable(deps: RequestDeps, volume: VolumeRecord, { hostId, dataset }: AdoptVolumeInput): Promise<void> {
  if (volume.state !== "ready") throw notNow(volume, "adopt a zvol for", `it is ${volume.state}`, "Repeat the call that began that.");
  if (volume.hostId !== hostId) throw notNow(volume, "adopt a zvol for", `it is on hosts/${volume.hostId}`, "Bring the copy to that host, or adopt it as another volume.");
  if (volume.published || volume.attachments.length > 0) {
    throw notNow(volume, "adopt a zvol for", "it is published", "Call DisconnectVolume, with force when the zvol is gone, and UnpublishVolume first.");
  }
  const { zfs } = await deps.machines.get(hostId);
  const present = await zfs.findVolume(parseDatasetName(volume.dataset), { signal: new AbortController().signal });
  if (present?.guid === volume.zvolGuid) throw notNow(volume, "adopt a zvol for", `its own, ${volume.dataset}, is there`, "Rename that one away first if the copy is to replace it.");
  if (dataset === volume.dataset) return;
  for await (const snapshot of deps.snapshots.identities()) {
    if (snapshot.hostId !== hostId || snapshot.dataset !== volume.dataset) continue;
    throw notNow(volume, "adopt a zvol for", `its snapshots are recorded at ${volume.dataset}`, `Give the copy that name first: \`zfs rename ${dataset} ${volume.dataset}\`.`);
  }
}
