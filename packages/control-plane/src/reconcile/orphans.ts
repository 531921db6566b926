import { StorageError, type HostId, type OperationId } from "@zfsilo/lib";
import type { Operations } from "../operation/operations.ts";
import type { HostRecord } from "../store/model.ts";
import { deleteOrphan } from "../workflow/delete-orphan.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";
import { deadMounts, type StaleMount } from "../workflow/stale-session.ts";
import { findOrphans, type Explained, type Orphan, type OrphanKind } from "./find-orphans.ts";
import type { Observation } from "./observation.ts";
import { observeHosts } from "./observe.ts";

export interface OrphanDeps extends WorkflowDeps {
  readonly operations: Operations<WorkflowDeps>;
  readonly iqnPrefix: string;
}

export interface SeenOrphan extends Orphan {
  readonly since: Date;
}

export interface OrphanList {
  readonly orphans: readonly SeenOrphan[];
  readonly unreachable: readonly HostId[];
}

/** One of them as its caller knows it. */
export interface OrphanKey {
  readonly hostId: HostId;
  readonly kind: OrphanKind;
  readonly name: string;
  readonly guid: string;
}

/** Finds what no record explains, and removes it one by one when asked to. */
export class Orphans {
  readonly #deps: OrphanDeps;
  /** When each was first seen; only of those that were there at the last look. */
  #since = new Map<string, Date>();

  constructor(deps: OrphanDeps) {
    this.#deps = deps;
  }

  async list(hosts: readonly HostRecord[], signal: AbortSignal): Promise<OrphanList> {
    // Read before and after the look: what was made or removed meanwhile is explained by one of the two.
    const before = await this.#explained();
    const seen = await observeHosts(this.#deps, hosts, signal);
    const dead = await this.#deadMounts(hosts, seen, signal);
    const explained = union(before, await this.#explained());
    const { clusterId, iqnPrefix } = this.#deps;
    const found = findOrphans(hosts, { targets: seen.targets, initiators: seen.initiators, dead }, explained, { clusterId, iqnPrefix });
    const looked = new Set(hosts.map(({ id }) => `${id} `));
    const since = new Map([...this.#since].filter(([key]) => !looked.has(key.slice(0, key.indexOf(" ") + 1))));
    const orphans = found.map((orphan) => {
      const key = `${orphan.hostId} ${orphan.kind} ${orphan.guid}`;
      const first = orphan.createdAt ?? this.#since.get(key) ?? new Date();
      since.set(key, first);
      return { ...orphan, since: first };
    });
    this.#since = since;
    return { orphans, unreachable: [...seen.failures.keys()] };
  }

  /** Looks again, and removes it only while it still is what the caller saw. */
  async remove({ hostId, kind, name, guid }: OrphanKey): Promise<OperationId> {
    const what = `${kind.replace("_", " ")} ${name} on hosts/${hostId}`;
    const request = { subject: `orphans/${hostId}/${guid}`, kind: deleteOrphan.kind, input: { kind, name } };
    return this.#deps.operations.submit(request, async (begin, earlier) => {
      const host = await this.#deps.hosts.get(hostId);
      const { orphans, unreachable } = await this.list([host], new AbortController().signal);
      if (unreachable.length > 0) throw new StorageError("unavailable", `look for ${what}: the host cannot be read`);
      const named = orphans.find((orphan) => orphan.kind === kind && orphan.name === name);
      if (named === undefined) {
        const before = await earlier();
        if (before?.state === "succeeded") return before.id;
        throw new StorageError("not_found", `${what} is no orphan`, {
          hint: "It is gone, a record explains it, or it is not ours. ListOrphans tells what there is.",
        });
      }
      if (named.guid !== guid) {
        throw new StorageError("precondition", `${what} has the guid ${named.guid}, not ${guid}`, {
          details: { reason: "GUID_MISMATCH" },
          hint: "It is another one than was seen before. List again, look at it, then decide.",
        });
      }
      if (named.inUse !== undefined) {
        throw new StorageError("precondition", `delete ${what}: ${named.inUse}`, { hint: "End that first; ListOrphans shows what belongs to it." });
      }
      return (await begin(deleteOrphan, { hostId, remains: named.remains })).operation;
    });
  }

  /** Of each initiator that answered. One that stops answering now has been looked at well enough. */
  async #deadMounts(hosts: readonly HostRecord[], seen: Observation, signal: AbortSignal): Promise<ReadonlyMap<HostId, readonly StaleMount[]>> {
    const found = new Map<HostId, readonly StaleMount[]>();
    const answering = hosts.filter(({ id }) => seen.initiators.has(id));
    await Promise.allSettled(
      answering.map(async (host) => {
        found.set(host.id, await deadMounts(this.#deps.machines.of(host), host.allowedRoots, signal));
      }),
    );
    signal.throwIfAborted();
    return found;
  }

  async #explained(): Promise<Explained> {
    const explained = { volumeIds: new Set<string>(), handles: new Set<string>(), datasets: new Set<string>(), snapshots: new Set<string>(), attachments: new Set<string>(), paths: new Set<string>() };
    for await (const { id, handle, hostId, dataset } of this.#deps.volumes.identities()) {
      explained.volumeIds.add(id);
      explained.handles.add(handle);
      explained.datasets.add(`${hostId} ${dataset}`);
    }
    for await (const { id, hostId, dataset, handle } of this.#deps.snapshots.identities()) {
      explained.snapshots.add(id).add(`${hostId} ${dataset}@${handle}`);
    }
    for await (const { targetName, attachments } of this.#deps.volumes.each("")) {
      for (const { hostId, initiatorIqn, stagingPath, targetPaths } of attachments) {
        explained.attachments.add(`${targetName} ${hostId}`).add(`${targetName} ${initiatorIqn}`);
        for (const path of [stagingPath, ...targetPaths]) explained.paths.add(`${hostId} ${path}`);
      }
    }
    return explained;
  }
}

function union(a: Explained, b: Explained): Explained {
  const both = (of: (one: Explained) => ReadonlySet<string>): ReadonlySet<string> => new Set([...of(a), ...of(b)]);
  return {
    volumeIds: both(({ volumeIds }) => volumeIds),
    handles: both(({ handles }) => handles),
    datasets: both(({ datasets }) => datasets),
    snapshots: both(({ snapshots }) => snapshots),
    attachments: both(({ attachments }) => attachments),
    paths: both(({ paths }) => paths),
  };
}
