import { errorChain, StorageError } from "@zfsilo/lib";
import type { ConditionRecord, HostRecord } from "../store/model.ts";
import type { HostStore } from "../store/stores.ts";
import type { HostFailure, Observation } from "./observation.ts";
import { shortPools } from "./pool-short.ts";

type Found = Pick<ConditionRecord, "reason" | "message">;

/** Sets and clears the conditions of hosts that were looked at. Writes only what changes. */
export async function recordHostConditions(hosts: HostStore, looked: readonly HostRecord[], seen: Observation): Promise<void> {
  for (const host of looked) {
    const found = hostCondition(host, seen);
    if (isSame(host.condition, found)) continue;
    // One that was removed meanwhile needs none.
    if ((await hosts.find(host.id)) === undefined) continue;
    await hosts.update(host.id, { condition: found && { ...found, observedAt: new Date() } });
  }
}

/** Pure. What failed is told once: the words of a transport vary from one try to the next. */
export function hostCondition(host: HostRecord, seen: Observation): Found | undefined {
  const failure = seen.failures.get(host.id);
  if (failure !== undefined) {
    return { reason: failureReasons[failure.kind], message: `${errorChain(failure.error)}${hintIn(failure.error)}` };
  }
  const target = seen.targets.get(host.id);
  const pools = target?.pools ?? new Map<string, never>();
  const suspended = [...pools].filter(([, view]) => view === "suspended").map(([name]) => name);
  if (suspended.length > 0) return { reason: "POOL_SUSPENDED", message: `I/O is suspended on ${suspended.join(", ")}` };
  const missing = [...pools].filter(([, view]) => view === "not_imported").map(([name]) => name);
  if (missing.length > 0) return { reason: "POOL_NOT_IMPORTED", message: `not imported: ${missing.join(", ")}` };
  const short = target === undefined ? [] : shortPools(target);
  if (short.length > 0) return { reason: "POOL_SHORT", message: short.join("; ") };
  return nameCondition(host, seen);
}

/** LIO tells initiators apart by name only: one name is one machine, and the one that is on record. */
function nameCondition({ id }: HostRecord, { initiators }: Observation): Found | undefined {
  const view = initiators.get(id);
  if (view === undefined || view.initiatorName === "") return undefined;
  const { initiatorName: name, statedName } = view;
  if (statedName !== "" && statedName !== name) {
    const remedy = "Correct the record with UpdateHost (initiator_iqn), or the name in /etc/iscsi/initiatorname.iscsi and restart iscsid";
    return { reason: "INITIATOR_NAME_DIFFERS", message: `recorded as ${statedName}, and the machine calls itself ${name}. ${remedy}` };
  }
  const all = [...initiators].filter(([, other]) => other.initiatorName === name).map(([host]) => `hosts/${host}`);
  if (all.length === 1) return undefined;
  const remedy = "If they are one machine, delete one of the hosts; else give each machine a name of its own (iscsi-iname) and restart iscsid";
  return { reason: "INITIATOR_NAME_SHARED", message: `${all.sort().join(" and ")} have the same initiator name ${name}. ${remedy}` };
}

const failureReasons = {
  unreachable: "HOST_UNREACHABLE",
  unreadable: "HOST_UNREADABLE",
  stranger: "HOST_KEY_CHANGED",
} as const satisfies Record<HostFailure["kind"], string>;

/** What a person can do about it. */
function hintIn(error: unknown): string {
  const hint = error instanceof StorageError ? error.hint : undefined;
  return hint === undefined ? "" : `. ${hint}`;
}

function isSame(had: ConditionRecord | undefined, found: Found | undefined): boolean {
  if (had?.reason !== found?.reason) return false;
  // The numbers of a pool that runs short change with every write.
  return found === undefined || found.reason.startsWith("HOST_") || found.reason === "POOL_SHORT" || had?.message === found.message;
}
