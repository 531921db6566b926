import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ParentDatasetStatusSchema, PoolScrubSchema, PoolStatusSchema, VdevSchema, type PoolScrub, type PoolStatus, type Vdev } from "@zfsilo/api";
import type { PoolStatus as Status, ScrubStatus, VdevStatus } from "@zfsilo/host";
import type { ParentCapacity } from "../../machines/capacity.ts";
import type { PoolLook } from "../../machines/pool-probe.ts";
import type { ConditionRecord } from "../../store/model.ts";
import { conditionToMessage } from "./condition.ts";

/** A pool as it was read: `status` is undefined for one that is not imported. */
export interface ReadPool {
  readonly name: string;
  readonly look: PoolLook;
  readonly status: Status | undefined;
  readonly parents: readonly ParentCapacity[];
}

export function poolToMessage({ name, look, status, parents }: ReadPool, now: Date): PoolStatus {
  const { facts } = look;
  const condition = conditionToMessage(poolCondition(look, status, now));
  const scrub = status?.scrub && scrubToMessage(status.scrub);
  const vdev = status?.root && vdevToMessage(status.root);
  return create(PoolStatusSchema, {
    name,
    health: facts?.health ?? "",
    sizeBytes: facts?.sizeBytes ?? 0n,
    allocatedBytes: facts?.allocatedBytes ?? 0n,
    freeBytes: facts?.freeBytes ?? 0n,
    fragmentationPercent: facts?.fragmentationPercent ?? 0,
    parentDatasets: parents.map((parent) =>
      create(ParentDatasetStatusSchema, {
        dataset: parent.parentDataset,
        availableBytes: parent.availableBytes,
        usedBytes: parent.usedBytes,
        quotaBytes: parent.quotaBytes,
        committedBytes: parent.committedBytes,
        committableBytes: parent.committableBytes,
        volumes: BigInt(parent.volumes),
        exists: parent.exists,
        overcommitRatio: parent.overcommitRatio,
      }),
    ),
    dataErrors: status?.dataErrors ?? 0n,
    ...(scrub && { scrub }),
    ...(vdev && { vdev }),
    ...(condition && { condition }),
  });
}

const brokenStates: ReadonlySet<string> = new Set(["FAULTED", "UNAVAIL", "REMOVED", "OFFLINE"]);

/** Pure. The worst that is wrong; undefined when nothing is. */
export function poolCondition({ name, facts }: PoolLook, status: Status | undefined, now: Date): ConditionRecord | undefined {
  const condition = (reason: string, message: string): ConditionRecord => ({ reason, message, observedAt: now });
  if (facts === undefined) return condition("POOL_NOT_IMPORTED", `${name} is not imported`);
  const problem = status?.problem ?? "";
  const told = problem === "" ? `${name} is ${facts.health}` : problem;
  if (facts.health === "SUSPENDED") return condition("POOL_SUSPENDED", told);
  if (brokenStates.has(facts.health)) return condition("POOL_FAULTED", told);
  if (facts.health === "DEGRADED") return condition("POOL_DEGRADED", told);
  if ((status?.dataErrors ?? 0n) > 0n) return condition("POOL_DATA_ERRORS", `${status?.dataErrors ?? 0n} known data errors`);
  if (facts.readonly) return condition("POOL_READ_ONLY", `${name} is imported read-only`);
  return undefined;
}

function scrubToMessage({ state, startedAt, endedAt, percent, errors }: ScrubStatus): PoolScrub {
  const [startTime, endTime] = [timeOf(startedAt), timeOf(endedAt)];
  return create(PoolScrubSchema, {
    state,
    percent,
    errors,
    ...(startTime && { startTime: timestampFromDate(startTime) }),
    ...(endTime && { endTime: timestampFromDate(endTime) }),
  });
}

/** `Sat Nov 21 17:00:08 2026`, which is UTC because commands run with TZ=UTC. */
function timeOf(text: string): Date | undefined {
  const time = new Date(`${text} UTC`);
  return text === "" || Number.isNaN(time.getTime()) ? undefined : time;
}

function vdevToMessage(vdev: VdevStatus): Vdev {
  const { children, ...facts } = vdev;
  return create(VdevSchema, { ...facts, children: children.map(vdevToMessage) });
}
