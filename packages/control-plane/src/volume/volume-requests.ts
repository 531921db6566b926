import { reasonOf, StorageError, wrapError, type HostId, type VolumeId } from "@zfsilo/lib";
import type { Workflow } from "@zfsilo/try";
import type { Begin, FindEarlier, Operations } from "../operation/operations.ts";
import type { Lanes } from "../operation/lanes.ts";
import { judgeAgain } from "../reconcile/apply.ts";
import { requireCurrent } from "../reconcile/current.ts";
import type { HostRecord, HostRole, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";
import type { Answer } from "./answer.ts";
import type { Placer } from "./placer.ts";

/** What the requests of every kind need. */
export interface RequestDeps extends WorkflowDeps {
  readonly operations: Operations<WorkflowDeps>;
  readonly placer: Placer;
  /** In what order many calls at once are worked on. */
  readonly lanes: Lanes;
  /** Directories of target hosts below which key files may lie. */
  readonly keyRoots: readonly string[];
  /** First part of every target name, e.g. `iqn.2026-01.io.zfsilo`. */
  readonly iqnPrefix: string;
}

export type BeginWorkflow = Begin<WorkflowDeps>;

/**
 * Claims a volume and decides, with nobody else acting on it, whether there is something to do. A condition that is over by
 * what was done is gone from the answer. `without`: an initiator that is forced off it.
 */
export async function onVolume(
  deps: RequestDeps,
  kind: string,
  id: VolumeId,
  input: object,
  work: (volume: VolumeRecord, begin: BeginWorkflow, earlier: FindEarlier) => Promise<Answer>,
  without?: HostId,
): Promise<Answer> {
  return deps.operations.submit({ subject: `volumes/${id}`, kind, input, without }, async (begin, earlier) => {
    const volume = await readyVolume(deps, id);
    if (volume.state === "deleting") throw notNow(volume, kind, "it is being deleted", "Call DeleteVolume again to finish that.");
    if (!endsAccess(kind, input)) await requireCurrent(deps, volume);
    const answer = await work(volume, begin, earlier);
    return { ...answer, volume: await judgeAgain(deps, answer.volume) };
  });
}

/** Calls that only take access away are a decision, also about a record that is older than its hosts. */
function endsAccess(kind: string, input: object): boolean {
  return kind === "volume.unmount" || kind === "volume.unstage" || (kind === "volume.disconnect" && "force" in input && input.force === true);
}

/** In its turn among what is done on the host, once that is known. */
export async function inTurnOn<T>({ lanes }: Pick<RequestDeps, "lanes">, host: HostId | undefined, work: () => Promise<T>): Promise<T> {
  return host === undefined ? work() : lanes.run(host, work);
}

/** Runs one workflow and answers with the volume as it is then. */
export async function runOn<C extends object>(
  deps: RequestDeps,
  id: VolumeId,
  begin: BeginWorkflow,
  workflow: Workflow<C, WorkflowDeps>,
  context: C,
): Promise<Answer> {
  const { operation } = await begin(workflow, context);
  return { volume: await deps.volumes.get(id), operation };
}

export function alreadySo(volume: VolumeRecord): Answer {
  return { volume, operation: undefined };
}

/** The answer to a call that makes a volume under an id that is taken: the volume, when the same request made it. */
export function madeBefore(existing: VolumeRecord, fingerprint: string): Answer {
  if (existing.requestFingerprint === fingerprint) return alreadySo(existing);
  const volume = `volumes/${existing.id}`;
  throw new StorageError("already_exists", `${volume} exists and was created with other fields`, {
    details: { field: "volume_id", volume },
    hint: "Choose another volume_id, or repeat the request exactly as it was made.",
  });
}

/** A volume that is being made is not there yet for anybody. The error names `field`, the one of the request that names the volume. */
export async function readyVolume(deps: Pick<WorkflowDeps, "volumes">, id: VolumeId, field = "name"): Promise<VolumeRecord> {
  const volume = await deps.volumes.find(id);
  if (volume !== undefined && volume.state !== "creating") return volume;
  const name = `volumes/${id}`;
  throw new StorageError("not_found", `${field === "name" ? "" : `${field}: `}${name} does not exist${volume === undefined ? "" : " yet"}`, {
    details: { field, volume: name },
    ...(volume && { hint: "It is being created. Repeat CreateVolume with the same id to wait for it." }),
  });
}

/** The host a request names, in the role the request needs. The error names `field`. */
export async function hostInRole(deps: WorkflowDeps, id: HostId, role: HostRole, field: string): Promise<HostRecord> {
  const host = await deps.hosts.find(id);
  if (host === undefined) {
    throw new StorageError("not_found", `${field}: hosts/${id} does not exist`, { details: { field, host: `hosts/${id}` } });
  }
  if (host.roles.includes(role)) return host;
  throw new StorageError("precondition", `${field}: hosts/${id} is no ${role}`, {
    details: { field, host: `hosts/${id}` },
    hint: `Choose a host whose roles include ${role}.`,
  });
}

/** Says which field asked for more than the pool has. */
export async function namingCapacity<T>(pool: string, capacityBytes: bigint, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (reasonOf(error) !== "no_space") throw error;
    const message = `volume.capacity_bytes: pool ${pool} has no room for ${capacityBytes} bytes`;
    throw wrapError(message, error, { field: "volume.capacity_bytes", pool });
  }
}

/** Refuses with a state the caller can mend by another call first. */
export function notNow(volume: VolumeRecord, doing: string, why: string, hint: string): StorageError {
  return new StorageError("precondition", `${doing} volumes/${volume.id}: ${why}`, {
    details: { volume: `volumes/${volume.id}` },
    hint,
  });
}
