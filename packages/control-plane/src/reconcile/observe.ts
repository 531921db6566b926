import { parseDatasetName, parseIqn, parsePoolName, type Mount, type Pool, type Session, type Zvol } from "@zfsilo/host";
import { reasonOf, type HostId } from "@zfsilo/lib";
import { isUnreachable, kindOf, lookAt, type Look } from "../machines/look.ts";
import type { Machine, Machines } from "../machines/machines.ts";
import type { HostRecord, VolumeRecord } from "../store/model.ts";
import type { HostStore } from "../store/stores.ts";
import type { HostFailure, InitiatorView, Observation, PoolView, TargetView } from "./observation.ts";

export interface ObserveDeps {
  readonly machines: Machines;
  readonly hosts: Pick<HostStore, "get">;
}

/** Looks at each host once, in bulk: a fixed number of commands a host, however many volumes it has. */
export async function observeHosts(deps: ObserveDeps, hosts: readonly HostRecord[], signal: AbortSignal): Promise<Observation> {
  const seen = new Views(signal);
  await Promise.all(
    hosts.flatMap((host) =>
      host.roles.map((role) =>
        role === "target"
          ? seen.target(host.id, (look) => observeTarget(deps.machines.of(host), host, look))
          : seen.initiator(host.id, (look) => observeInitiator(deps.machines.of(host), host, look)),
      ),
    ),
  );
  return seen;
}

/**
 * Looks only at what belongs to one volume, on its target and on `initiators`: cheap on hosts with thousands. Filesystems that
 * are staged are measured as well.
 */
export async function observeVolume(
  deps: ObserveDeps,
  volume: VolumeRecord,
  initiators: Iterable<HostId>,
  signal: AbortSignal,
): Promise<Observation> {
  const seen = new Views(signal);
  await Promise.all([
    seen.target(volume.hostId, async (look) => {
      const host = await deps.hosts.get(volume.hostId);
      return observeExport(deps.machines.of(host), volume, host.portals, look);
    }),
    ...[...new Set(initiators)].map((id) =>
      seen.initiator(id, async (look) => {
        const host = await deps.hosts.get(id);
        return observeSession(deps.machines.of(host), volume, host, look);
      }),
    ),
  ]);
  return seen;
}

/** What hosts showed. One that cannot be read is noted, so that it does not keep the others from being looked at. */
class Views implements Observation {
  readonly targets = new Map<HostId, TargetView>();
  readonly initiators = new Map<HostId, InitiatorView>();
  readonly failures = new Map<HostId, HostFailure>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async target(id: HostId, look: (one: Look) => Promise<TargetView>): Promise<void> {
    const view = await this.#noted(id, look);
    if (view !== undefined) this.targets.set(id, view);
  }

  async initiator(id: HostId, look: (one: Look) => Promise<InitiatorView>): Promise<void> {
    const view = await this.#noted(id, look);
    if (view !== undefined) this.initiators.set(id, view);
  }

  async #noted<T>(id: HostId, look: (one: Look) => Promise<T>): Promise<T | undefined> {
    try {
      return await lookAt(id, this.#signal, look);
    } catch (error) {
      this.#signal.throwIfAborted();
      this.failures.set(id, { kind: kindOf(error), error });
      return undefined;
    }
  }
}

/** zpool first: `zfs` waits for ever on a pool whose I/O is suspended, zpool answers (zpool-list(8), zfs 2.1). */
async function observeTarget({ zfs, lio, snapshots }: Machine, host: HostRecord, { signal, heard }: Look): Promise<TargetView> {
  const exports = heard(lio.listExports({ signal }));
  const listed = heard(zfs.listPools({ signal }));
  const pools = listed.then((imported) =>
    Promise.all(
      [...new Set(host.pools.map(({ name }) => name))].map(async (name): Promise<readonly [string, PoolView]> => {
        const pool = imported.find((candidate) => candidate.name === name);
        const parents = host.pools.filter((ref) => ref.name === name).map(({ parentDataset }) => parseDatasetName(parentDataset));
        const views = parents.map((parent) => poolView(pool, () => zfs.listVolumes(parent, { signal })));
        return [name, together(await Promise.all(views))];
      }),
    ),
  );
  const [found, views] = await Promise.all([exports, pools]);
  const taken = await Promise.all(
    host.pools.map(async ({ name, parentDataset }) => {
      const view = views.find(([pool]) => pool === name)?.[1];
      // Snapshots are of volumes: where there are none of those, the parent may not even be there.
      const under = typeof view === "object" && [...view.keys()].some((dataset) => dataset.startsWith(`${parentDataset}/`));
      return under ? snapshots.list(parseDatasetName(parentDataset), { signal }) : [];
    }),
  );
  return {
    pools: new Map(views),
    poolBytes: new Map((await listed).map(({ name, sizeBytes }) => [name, sizeBytes])),
    snapshots: new Map(taken.flat().map((one) => [one.name, one])),
    exports: new Map(found.map((one) => [one.handle, one])),
    portals: host.portals,
  };
}

async function observeExport(
  { zfs, lio }: Machine,
  volume: VolumeRecord,
  portals: TargetView["portals"],
  { signal, heard }: Look,
): Promise<TargetView> {
  const pools = heard(zfs.findPool(parsePoolName(volume.pool), { signal })).then((pool) =>
    poolView(pool, async () => [await zfs.findVolume(parseDatasetName(volume.dataset), { signal })].flatMap((zvol) => zvol ?? [])),
  );
  const found = heard(lio.findExport({ handle: volume.handle, target: parseIqn(volume.targetName) }, { signal }));
  const [view, lioExport] = await Promise.all([pools, found]);
  return {
    pools: new Map([[volume.pool, view]]),
    poolBytes: new Map(),
    snapshots: new Map(),
    exports: new Map(lioExport === undefined ? [] : [[volume.handle, lioExport]]),
    portals,
  };
}

async function observeInitiator({ iscsi, mounts }: Machine, host: HostRecord, { signal, heard }: Look): Promise<InitiatorView> {
  const [sessions, list, records, initiatorName] = await Promise.all([
    iscsi.listSessions({ signal }),
    heard(mounts.list({ signal })),
    iscsi.listRecordedTargets({ signal }),
    nameOf(() => iscsi.initiatorName({ signal })),
  ]);
  return viewOf({ sessions, mounts: list, records, initiatorName }, host);
}

async function observeSession(
  { iscsi, mounts, filesystems }: Machine,
  volume: VolumeRecord,
  host: HostRecord,
  { signal, heard }: Look,
): Promise<InitiatorView> {
  const [session, list, records, initiatorName] = await Promise.all([
    iscsi.findSession({ target: parseIqn(volume.targetName) }, { signal }),
    heard(mounts.list({ signal })),
    iscsi.listRecordedTargets({ signal }),
    nameOf(() => iscsi.initiatorName({ signal })),
  ]);
  const attachment = volume.attachments.find(({ hostId }) => hostId === host.id);
  const device = session?.state === "LOGGED_IN" ? session.devices.find(({ serial }) => serial === volume.handle) : undefined;
  const shown = list.some(({ target, majorMinor }) => target === attachment?.stagingPath && majorMinor === device?.majorMinor);
  const filesystemBytes = new Map<string, bigint>();
  if (device !== undefined && shown && volume.filesystem?.formatted === true) {
    filesystemBytes.set(device.majorMinor, await filesystems.sizeBytes(`/dev/${device.name}`, volume.filesystem.type, { signal }));
  }
  return { ...viewOf({ sessions: session === undefined ? [] : [session], mounts: list, records, initiatorName }, host), filesystemBytes };
}

interface Seen {
  readonly sessions: readonly Session[];
  readonly mounts: readonly Mount[];
  readonly records: readonly string[];
  readonly initiatorName: string;
}

function viewOf({ sessions, mounts, records, initiatorName }: Seen, host: HostRecord): InitiatorView {
  const byPath = new Map<string, Mount[]>();
  for (const mount of mounts) {
    const at = byPath.get(mount.target) ?? [];
    byPath.set(mount.target, at);
    at.push(mount);
  }
  return {
    sessions: new Map(sessions.filter(({ iface }) => iface === "default").map((session) => [session.target, session])),
    mounts: byPath,
    records: new Set(records),
    initiatorName,
    statedName: host.initiatorIqn,
    filesystemBytes: new Map(),
  };
}

/** A machine without a name cannot log in anywhere, and has nothing of ours. */
async function nameOf(read: () => Promise<string>): Promise<string> {
  try {
    return await read();
  } catch (error) {
    if (reasonOf(error) === "precondition") return "";
    throw error;
  }
}

/** What lies under several parent datasets of one pool. */
function together(views: readonly PoolView[]): PoolView {
  const [only, ...others] = views;
  if (only !== undefined && others.length === 0) return only;
  const dark = views.find((view) => typeof view === "string");
  return dark ?? new Map(views.flatMap((view) => (typeof view === "string" ? [] : [...view])));
}

/** A pool that is not imported is a finding; a host that does not answer is none, and passes through. */
async function poolView(pool: Pool | undefined, read: () => Promise<readonly Zvol[]>): Promise<PoolView> {
  if (pool === undefined) return "not_imported";
  if (pool.health === "SUSPENDED") return "suspended";
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
