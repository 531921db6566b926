import type { HostId, Logger, VolumeId } from "@zfsilo/lib";
import type { HostRecord, LeftoverRecord, VolumeRecord } from "../store/model.ts";
import { isOutOfTheWay, recordCondition, reconcileVolume, reported, type ReconcileDeps } from "./apply.ts";
import { compareVolume, unjudged } from "./compare.ts";
import type { CycleResult, Finding, VolumeFindings } from "./findings.ts";
import { recordHostConditions } from "./host-condition.ts";
import { cleanLeftovers, leftoverKey } from "./leftovers.ts";
import type { Observation } from "./observation.ts";
import { observeHosts, observeVolume } from "./observe.ts";
import { planVolume, type Planned } from "./plan.ts";
import { applyQuotas } from "./quotas.ts";
import { RetryLater } from "./retry-later.ts";
import { isChangedSince } from "./changed-since.ts";
import { refreshSnapshots } from "./snapshots.ts";

export interface ReconcilerOptions extends ReconcileDeps {
  readonly log: Logger;
  /** Told how long each look at all hosts took, for metrics. */
  readonly looks?: { observed(seconds: number): void };
}

export interface CycleOptions {
  readonly filter?: string;
  readonly reportOnly?: boolean;
  /** Try also what failed a short while ago. */
  readonly eager?: boolean;
  /** Told of each volume that differs, as soon as it was dealt with; nothing is kept. */
  readonly onVolume?: (id: VolumeId, findings: readonly Finding[]) => void;
}

/** How one volume is looked at. */
export interface LookOptions {
  readonly reportOnly: boolean;
  /** A person has decided that the record counts, although its hosts are newer. */
  readonly acceptRecord: boolean;
}

/** Volumes that are repaired at once. Each takes a few commands at a time; hosts have limits of their own. */
const repairsAtOnce = 8;

/** Observe, plan, apply: the same for a call, the timer, the start, and a host that came back. */
export class Reconciler {
  readonly #deps: ReconcilerOptions;
  readonly #later = new RetryLater<string>();

  constructor(options: ReconcilerOptions) {
    this.#deps = options;
  }

  /** One volume, on its target and the hosts it is attached to. */
  async volume(volume: VolumeRecord, { reportOnly, acceptRecord }: LookOptions, signal: AbortSignal): Promise<VolumeFindings> {
    if (!reportOnly) return reconcileVolume(this.#deps, volume.id, [], { acceptRecord });
    const hosts = volume.attachments.map(({ hostId }) => hostId);
    const seen = await observeVolume(this.#deps, volume, hosts, signal);
    const differences = compareVolume(volume, seen, this.#deps.clusterId);
    return {
      volume: await recordCondition(this.#deps, volume, differences),
      findings: reported(planVolume(volume, differences)),
      operation: undefined,
      unseen: [],
      failure: undefined,
    };
  }

  /** Every volume the filter matches, with one look at each host. Volumes of hosts that cannot be read are not judged. */
  async cycle(options: CycleOptions, signal: AbortSignal): Promise<CycleResult> {
    const { filter = "", reportOnly = false } = options;
    const hosts = await this.#deps.hosts.all();
    const began = new Date();
    const lookedFrom = performance.now();
    const seen = await observeHosts(this.#deps, hosts, signal);
    this.#deps.looks?.observed((performance.now() - lookedFrom) / 1000);
    await recordHostConditions(this.#deps.hosts, hosts, seen);
    await refreshSnapshots(this.#deps, hosts, seen, began, signal);
    if (!reportOnly) await applyQuotas(this.#deps, hosts, seen, signal);
    const result = { checked: 0, repaired: 0, left: 0, unreachable: [...seen.failures.keys()] };
    const count = (id: VolumeId, findings: readonly Finding[]): void => {
      for (const { outcome } of findings) {
        if (outcome === "repaired") result.repaired += 1;
        if (outcome === "left") result.left += 1;
      }
      if (findings.length > 0) options.onVolume?.(id, findings);
    };
    const running = new Set<Promise<void>>();
    for await (const volume of this.#deps.volumes.each(filter)) {
      signal.throwIfAborted();
      // One that an operation works on is between two states by intention; one changed since may not be as it was seen.
      if (this.#deps.operations.openOn(`volumes/${volume.id}`) !== undefined || isChangedSince(volume, began)) continue;
      result.checked += 1;
      const all = this.#plan(volume, seen);
      const planned = all.filter(({ difference }) => !unjudged.includes(difference.reason));
      if (reportOnly || !planned.some((one) => "action" in one) || !this.#isDue(volume.id, options)) {
        await this.#record(volume, all);
        count(volume.id, reportOnly ? reported(planned) : left(planned));
        continue;
      }
      const repair = this.#repair(volume, planned, hosts).then((findings) => {
        count(volume.id, findings);
      });
      running.add(repair);
      void repair.finally(() => running.delete(repair));
      if (running.size >= repairsAtOnce) await Promise.race(running);
    }
    await Promise.all(running);
    // A session that is logged in was let in by somebody since: this table knows of none.
    const isDue = (one: LeftoverRecord): boolean => {
      const view = seen.initiators.get(one.hostId);
      return view !== undefined && view.sessions.get(one.targetName)?.state !== "LOGGED_IN" && this.#isDue(leftoverKey(one), options);
    };
    if (!reportOnly) await cleanLeftovers(this.#deps, isDue, this.#later);
    return result;
  }

  #plan(volume: VolumeRecord, seen: Observation): Planned[] {
    const differences = compareVolume(volume, seen, this.#deps.clusterId);
    if (differences.length === 0) this.#later.forget(volume.id);
    if (seen.targets.has(volume.hostId) && !differences.some(({ reason }) => reason === "RECORD_OUTDATED")) this.#deps.current.add(volume.id);
    return planVolume(volume, differences);
  }

  #isDue(id: string, { eager = false }: CycleOptions): boolean {
    return eager || this.#later.isDue(id);
  }

  async #record(volume: VolumeRecord, planned: readonly Planned[]): Promise<void> {
    const differences = planned.map(({ difference }) => difference);
    try {
      await recordCondition(this.#deps, volume, differences);
    } catch (error) {
      if (!isOutOfTheWay(error)) throw error;
    }
  }

  async #repair(volume: VolumeRecord, planned: readonly Planned[], hosts: readonly HostRecord[]): Promise<readonly Finding[]> {
    try {
      const { findings, failure } = await reconcileVolume(this.#deps, volume.id, strangersIn(planned, hosts), { background: true });
      if (failure === undefined) this.#later.forget(volume.id);
      else this.#later.failed(volume.id);
      for (const { outcome, ...rest } of findings) {
        if (outcome === "repaired") this.#deps.log.info({ volume: volume.id, ...described(rest) }, "repaired");
        else if (rest.action !== undefined) this.#deps.log.warn({ volume: volume.id, ...described(rest) }, "could not be repaired yet");
      }
      return findings;
    } catch (error) {
      if (isOutOfTheWay(error)) return [];
      this.#later.failed(volume.id);
      this.#deps.log.error({ err: error, volume: volume.id }, "reconciling failed; it is tried again later");
      return left(planned);
    }
  }
}

/** Hosts that have something of the volume without being attached: they are looked at again too. */
function strangersIn(planned: readonly Planned[], hosts: readonly HostRecord[]): HostId[] {
  const ids = new Set(planned.flatMap((one) => ("action" in one && one.action.kind === "clean-initiator" ? [one.action.hostId] : [])));
  return hosts.map(({ id }) => id).filter((id) => ids.has(id));
}

function left(planned: readonly Planned[]): Finding[] {
  return planned.map((one) => ({
    ...one.difference,
    outcome: "left",
    explanation: "why" in one ? one.why : "it failed a short while ago and is tried again later",
    action: "action" in one ? one.action.kind : undefined,
  }));
}

function described({ host, reason, action, explanation }: Omit<Finding, "outcome">): object {
  return { host, reason, action, ...(explanation === "" ? {} : { explanation }) };
}
