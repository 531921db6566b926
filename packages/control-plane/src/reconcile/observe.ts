import { CommandError } from "@zfsilo/command";
import { parseDatasetName, parseIqn, type Zvol } from "@zfsilo/host";
import { reasonOf, type HostId } from "@zfsilo/lib";
import type { Machine, Machines } from "../machines/machines.ts";
import type { HostRecord, VolumeRecord } from "../store/model.ts";
import type { InitiatorView, Observation, PoolView, TargetView } from "./observation.ts";

export interface ObserveDeps {
  readonly machines: Machines;
}

/** Looks at each host once, in bulk: a fixed number of commands a host, however many volumes it has. */
export async function observeHosts(deps: ObserveDeps, hosts: readonly HostRecord[], signal: AbortSignal): Promise<Observation> {
  const targets = new Map<HostId, TargetView>();
  const initiators = new Map<HostId, InitiatorView>();
  await Promise.all(
    hosts.map(async (host) => {
      const machine = deps.machines.of(host);
      const [target, initiator] = await Promise.all([
        host.roles.includes("target") ? orUnreachable(() => observeTarget(machine, host, signal)) : undefined,
        host.roles.includes("initiator") ? orUnreachable(() => observeInitiator(machine, signal)) : undefined,
      ]);
      if (target !== undefined) targets.set(host.id, target);
      if (initiator !== undefined) initiators.set(host.id, initiator);
    }),
  );
  return { targets, initiators };
}

/** Looks only at what belongs to one volume: cheap on a host with thousands. */
export async function observeVolume(deps: ObserveDeps, volume: VolumeRecord, signal: AbortSignal): Promise<Observation> {
  const machine = await deps.machines.get(volume.hostId);
  const target = await orUnreachable(async () => {
    const dataset = parseDatasetName(volume.dataset);
    const [pool, found] = await Promise.all([
      poolView(async () => [await machine.zfs.findVolume(dataset, { signal })].flatMap((zvol) => zvol ?? [])),
      machine.lio.findExport({ handle: volume.handle, target: parseIqn(volume.targetName) }, { signal }),
    ]);
    return {
      pools: new Map([[volume.pool, pool]]),
      exports: new Map(found === undefined ? [] : [[volume.handle, found]]),
    };
  });
  const views = await Promise.all(
    volume.attachments.map(async ({ hostId }) => {
      const initiator = await deps.machines.get(hostId);
      return [hostId, await orUnreachable(() => observeInitiator(initiator, signal))] as const;
    }),
  );
  return {
    targets: new Map(target === undefined ? [] : [[volume.hostId, target]]),
    initiators: new Map(views.flatMap(([id, view]) => (view === undefined ? [] : [[id, view] as const]))),
  };
}

async function observeTarget({ zfs, lio }: Machine, host: HostRecord, signal: AbortSignal): Promise<TargetView> {
  const [exports, ...pools] = await Promise.all([
    lio.listExports({ signal }),
    ...host.pools.map(async ({ name, parentDataset }): Promise<readonly [string, PoolView]> => {
      return [name, await poolView(() => zfs.listVolumes(parseDatasetName(parentDataset), { signal }))];
    }),
  ]);
  return { pools: new Map(pools), exports: new Map(exports.map((found) => [found.handle, found])) };
}

async function observeInitiator({ iscsi, mounts }: Machine, signal: AbortSignal): Promise<InitiatorView> {
  const [sessions, list] = await Promise.all([iscsi.listSessions({ signal }), mounts.list({ signal })]);
  return { sessions: new Map(sessions.map((session) => [session.target, session])), mounts: list };
}

/** A pool that is not imported is a finding; a host that does not answer is none, and passes through. */
async function poolView(read: () => Promise<readonly Zvol[]>): Promise<PoolView> {
  try {
    return new Map((await read()).map((zvol) => [zvol.dataset, zvol]));
  } catch (error) {
    // The pool is there and the parent dataset is not: no volume was ever made in it.
    if (reasonOf(error) === "not_found") return new Map();
    // zfs says "no such pool" through `unavailable` and the transport does too; only the former comes with an exit.
    if (reasonOf(error) === "unavailable" && !isUnreachable(error)) return "not_imported";
    throw error;
  }
}

async function orUnreachable<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (isUnreachable(error)) return undefined;
    throw error;
  }
}

function isUnreachable(error: unknown): boolean {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (link instanceof CommandError && (link.reason === "unavailable" || link.reason === "timeout")) return true;
  }
  return false;
}
