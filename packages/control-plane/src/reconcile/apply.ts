import { assertNever, errorChain, reasonOf, StorageError, type HostId, type OperationId, type VolumeId } from "@zfsilo/lib";
import type { Begin, Operations } from "../operation/operations.ts";
import type { VolumeRecord } from "../store/model.ts";
import { cleanInitiator } from "../workflow/clean-initiator.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";
import { expandVolume } from "../workflow/expand-volume.ts";
import { restoreExport } from "../workflow/restore-export.ts";
import { restoreMounts } from "../workflow/restore-mounts.ts";
import { restoreSession } from "../workflow/restore-session.ts";
import { shutOutInitiator } from "../workflow/shut-out.ts";
import { compareVolume, newerOnHost, unjudged, unseen, type Difference } from "./compare.ts";
import { conditionOf, type Finding, type VolumeFindings } from "./findings.ts";
import { observeVolume } from "./observe.ts";
import { actionKey, actionsOf, planVolume, type Action, type ActionKind, type Planned } from "./plan.ts";

/** Told about each repair that was tried, for metrics. */
export interface RepairObserver {
  repair(action: ActionKind, outcome: "done" | "failed"): void;
}

export interface ReconcileDeps extends WorkflowDeps {
  readonly operations: Operations<WorkflowDeps>;
  readonly repairs?: RepairObserver;
}

/** Which differences a caller wants mended. Default: all. */
export type Scope = (difference: Difference) => boolean;

/**
 * Claims a volume, looks again (what made somebody call this may be old), repairs what can be, looks once more, and records
 * the condition that is left. `initiators`: hosts to look at besides those it is attached to. `background`: nobody asked for it.
 */
export async function reconcileVolume(
  deps: ReconcileDeps,
  id: VolumeId,
  initiators: readonly HostId[] = [],
  { acceptRecord = false, background = false }: { readonly acceptRecord?: boolean; readonly background?: boolean } = {},
): Promise<VolumeFindings> {
  const request = { subject: `volumes/${id}`, kind: "volume.reconcile", input: { initiators, acceptRecord }, background };
  // Before the claim: what a dead process left on the volume is finished only once it is decided what counts.
  if (acceptRecord) await makeNewest(deps, await deps.volumes.get(id));
  return deps.operations.submit(request, async (begin) => repairClaimed(deps, await deps.volumes.get(id), begin, { initiators }));
}

/** Makes the record newer than its hosts, as a person has decided. Then they are brought back to it like any other. */
async function makeNewest(deps: WorkflowDeps, volume: VolumeRecord): Promise<void> {
  const target = (await observeVolume(deps, volume, [], new AbortController().signal)).targets.get(volume.hostId);
  if (target === undefined) {
    throw new StorageError("unavailable", `look at volumes/${volume.id} on hosts/${volume.hostId}: it does not answer`, {
      details: { volume: `volumes/${volume.id}`, host: `hosts/${volume.hostId}` },
      hint: "Repeat the call when the host can be read again. Nothing was changed.",
    });
  }
  const newer = newerOnHost(volume, target, deps.clusterId);
  if (newer !== undefined) await deps.volumes.update(volume.id, { generation: newer + 1 });
}

/** A repair may uncover another, and that one a third. */
const maxRounds = 3;

export interface RepairOptions {
  readonly initiators?: readonly HostId[];
  readonly scope?: Scope;
}

/** The same for whoever has claimed the volume. */
export async function repairClaimed(
  deps: ReconcileDeps,
  volume: VolumeRecord,
  begin: Begin<WorkflowDeps>,
  { initiators = [], scope = () => true }: RepairOptions = {},
): Promise<VolumeFindings> {
  const look = async (record: VolumeRecord): Promise<Difference[]> => {
    const attached = record.attachments.map(({ hostId }) => hostId);
    const strangers = initiators.filter((id) => !attached.includes(id));
    const seen = await observeVolume(deps, record, [...attached, ...strangers], new AbortController().signal);
    // They were named because they have something: not seeing it is not its absence.
    return [...compareVolume(record, seen, deps.clusterId), ...strangers.flatMap((id) => unseen(id, seen))];
  };
  let planned: readonly Planned[] = [];
  const tried = new Set<string>();
  const failures = new Map<string, unknown>();
  let operation: OperationId | undefined;
  let now = volume;
  let after = await look(volume);
  for (let round = 1; round <= maxRounds; round += 1) {
    const found = planVolume(now, after).filter(({ difference }) => scope(difference));
    // What one repair uncovers (a new session shows that the mount is of the old one) is mended too, and each thing once.
    const actions = actionsOf(found).filter((action) => !tried.has(actionKey(action)));
    planned = round === 1 ? found : withUncovered(planned, found, actions);
    if (actions.length === 0) break;
    for (const action of actions) {
      tried.add(actionKey(action));
      try {
        operation = await perform(now, action, begin);
        deps.repairs?.repair(action.kind, "done");
      } catch (error) {
        failures.set(actionKey(action), error);
        deps.repairs?.repair(action.kind, "failed");
      }
    }
    now = await deps.volumes.get(volume.id);
    after = await look(now);
    if (failures.size > 0) break;
  }
  return {
    volume: await recordCondition(deps, now, after),
    findings: planned.map((one) => finding(one, after, failures)),
    operation,
    unseen: after.filter((difference) => unjudged.includes(difference.reason) && scope(difference)),
    failure: [...failures.values()][0],
  };
}

/** What was planned before, and what is to be done now. Something that had to wait until now is not told twice. */
function withUncovered(before: readonly Planned[], found: readonly Planned[], actions: readonly Action[]): Planned[] {
  const keys = new Set(actions.map(actionKey));
  const uncovered = found.filter((one) => "action" in one && keys.has(actionKey(one.action)));
  const isAgain = ({ host, reason, expected }: Difference): boolean =>
    uncovered.some(({ difference }) => difference.host === host && difference.reason === reason && difference.expected === expected);
  return [...before.filter((one) => "action" in one || !isAgain(one.difference)), ...uncovered];
}

/** How long a call that is done may look whether a condition is over: a host that is away must not hold its answer up. */
const judgeLimitMs = 3_000;

/**
 * After a call that changed a volume with a condition: looks whether that still holds, and records what does. Repairs nothing.
 * What cannot be told in time stays as it is until the next cycle.
 */
export async function judgeAgain(deps: WorkflowDeps, volume: VolumeRecord): Promise<VolumeRecord> {
  if (volume.condition === undefined) return volume;
  const attached = volume.attachments.map(({ hostId }) => hostId);
  const signal = AbortSignal.timeout(judgeLimitMs);
  try {
    const seen = await observeVolume(deps, volume, attached, signal);
    return await recordCondition(deps, volume, compareVolume(volume, seen, deps.clusterId));
  } catch (error) {
    if (signal.aborted) return volume;
    throw error;
  }
}

/**
 * The condition as the differences make it; written only when it changes. What could not be looked at is not judged anew, and
 * keeps a condition from going away.
 */
export async function recordCondition(
  deps: Pick<WorkflowDeps, "volumes">,
  volume: VolumeRecord,
  differences: readonly Difference[],
): Promise<VolumeRecord> {
  if (differences.some(({ host, reason }) => host === `hosts/${volume.hostId}` && unjudged.includes(reason))) return volume;
  const found = conditionOf(differences.filter(({ reason }) => !unjudged.includes(reason)));
  if (found === undefined && differences.length > 0) return volume;
  const locked = differences.some(({ reason }) => reason === "VOLUME_LOCKED");
  const { encryption } = volume;
  const known = encryption === undefined || encryption.locked === locked;
  if (known && found?.reason === volume.condition?.reason && found?.message === volume.condition?.message) return volume;
  return deps.volumes.update(volume.id, {
    condition: found && { ...found, observedAt: new Date() },
    ...(known ? {} : { encryption: { ...encryption, locked } }),
  });
}

/** What a look without repairs came to. */
export function reported(planned: readonly Planned[]): Finding[] {
  return planned.map((one) => ({
    ...one.difference,
    outcome: "reported",
    explanation: "why" in one ? one.why : "",
    action: "action" in one ? one.action.kind : undefined,
  }));
}

function finding(one: Planned, after: readonly Difference[], failures: ReadonlyMap<string, unknown>): Finding {
  const { difference } = one;
  if ("why" in one) return { ...difference, outcome: "left", explanation: one.why, action: undefined };
  const { kind } = one.action;
  const dark = after.find(({ host, reason }) => host === difference.host && unjudged.includes(reason));
  if (dark !== undefined) {
    const failure = failures.get(actionKey(one.action));
    const explanation = failure === undefined ? `${kind} was done and could not be read back: ${dark.observed}` : errorChain(failure);
    return { ...difference, outcome: "left", explanation, action: kind };
  }
  const still = after.some(
    ({ host, reason, expected, initiatorIqn }) =>
      host === difference.host &&
      reason === difference.reason &&
      (expected === difference.expected || reason === "TARGET_INCOMPLETE") &&
      initiatorIqn === difference.initiatorIqn,
  );
  if (!still) return { ...difference, outcome: "repaired", explanation: "", action: kind };
  const failure = failures.get(actionKey(one.action));
  const explanation = failure === undefined ? `${kind} was done, and it is still so` : errorChain(failure);
  return { ...difference, outcome: "left", explanation, action: kind };
}

async function perform({ id: volumeId, generation }: VolumeRecord, action: Action, begin: Begin<WorkflowDeps>): Promise<OperationId> {
  switch (action.kind) {
    case "shut-out":
      return (await begin(shutOutInitiator, { volumeId, initiatorIqn: action.initiatorIqn })).operation;
    case "restore-export":
      return (await begin(restoreExport, { volumeId, dropPortals: [] })).operation;
    case "drop-portals":
      return (await begin(restoreExport, { volumeId, dropPortals: action.portals.map((portal) => ({ ...portal })) })).operation;
    case "restore-session":
      return (await begin(restoreSession, { volumeId, hostId: action.hostId, renamedTo: action.renamedTo, ...(action.renamedTo === undefined ? {} : { generation: generation + 1 }) })).operation;
    case "finish-expansion":
      return (await begin(expandVolume, { volumeId, capacityBytes: action.capacityBytes })).operation;
    case "restore-mounts":
      return (await begin(restoreMounts, { volumeId, hostId: action.hostId })).operation;
    case "clean-initiator":
      return (await begin(cleanInitiator, { volumeId, hostId: action.hostId })).operation;
    default:
      return assertNever(action);
  }
}

/** Somebody else works on the volume, or it is gone by now: no reason to complain. */
export function isOutOfTheWay(error: unknown): boolean {
  return ["aborted", "not_found"].includes(reasonOf(error));
}
