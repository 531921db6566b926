import { createHash } from "node:crypto";
import { mountsOfDevice, zvolPath, type LioExport, type Session } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
import type { HostRecord } from "../store/model.ts";
import type { Remains } from "../workflow/delete-orphan.ts";
import type { StaleMount } from "../workflow/stale-session.ts";
import type { InitiatorView, Observation, TargetView } from "./observation.ts";

export type OrphanKind = Remains["kind"];

/** Something of ours on a host that no record explains. */
export interface Orphan {
  readonly hostId: HostId;
  readonly kind: OrphanKind;
  readonly name: string;
  /** ZFS's of a dataset; of the others a fingerprint of what was seen. */
  readonly guid: string;
  /** Known for datasets alone. */
  readonly createdAt: Date | undefined;
  readonly description: string;
  /** Why it cannot be deleted as it is. */
  readonly inUse: string | undefined;
  readonly remains: Remains;
}

/** What records explain. */
export interface Explained {
  readonly volumeIds: ReadonlySet<string>;
  readonly handles: ReadonlySet<string>;
  /** `HOST DATASET`. */
  readonly datasets: ReadonlySet<string>;
  /** `HOST DATASET@HANDLE`, and the ids of snapshots. */
  readonly snapshots: ReadonlySet<string>;
  /** `TARGET HOST` and `TARGET INITIATOR-NAME` of every attachment. */
  readonly attachments: ReadonlySet<string>;
  /** `HOST PATH` of everything that is recorded as mounted. */
  readonly paths: ReadonlySet<string>;
}

export interface OwnMarks {
  readonly clusterId: string;
  readonly iqnPrefix: string;
}

/** What ListOrphans sees. */
export interface OrphanObservation extends Pick<Observation, "targets" | "initiators"> {
  /** Mounts below the directories of each initiator whose disks are gone. */
  readonly dead: ReadonlyMap<HostId, readonly StaleMount[]>;
}

/** Pure. What bears our mark on the hosts that were looked at and nothing in `explained` accounts for. */
export function findOrphans(hosts: readonly HostRecord[], seen: OrphanObservation, explained: Explained, own: OwnMarks): Orphan[] {
  return hosts.flatMap((host) => {
    const target = seen.targets.get(host.id);
    const initiator = seen.initiators.get(host.id);
    const found = [
      ...(target === undefined ? [] : [...datasets(host, target, explained, own), ...snapshots(host, target, explained, own), ...exports(host, target, explained, own)]),
      ...(initiator === undefined ? [] : onInitiator(host, initiator, explained, own)),
      ...(initiator === undefined ? [] : ofDeadDisks(host, initiator, seen.dead.get(host.id) ?? [], explained)),
    ];
    return found.sort((a, b) => (`${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1));
  });
}

function datasets(host: HostRecord, view: TargetView, explained: Explained, own: OwnMarks): Orphan[] {
  const exported = new Set([...view.exports.values()].flatMap(({ backstore }) => backstore?.devicePath ?? []));
  return [...view.pools.values()].flatMap((pool) => (typeof pool === "object" ? [...pool.values()] : [])).flatMap((zvol) => {
    const { dataset, owner, guid, sizeBytes, usedBytes, createdAt } = zvol;
    if (owner?.cluster !== own.clusterId) return [];
    // A volume whose zvol was renamed has lost it, and it has not become anybody's.
    if (explained.datasets.has(`${host.id} ${dataset}`) || explained.volumeIds.has(owner.volume)) return [];
    const remains: Remains = { kind: "dataset", dataset, volume: owner.volume, guid };
    const description = `volume ${owner.volume}${zvol.displayName === undefined ? "" : ` (${zvol.displayName})`}, ${sizeBytes} bytes, ${usedBytes} used`;
    const inUse = exported.has(zvolPath(dataset)) ? "it is exported" : undefined;
    return { hostId: host.id, kind: "dataset", name: dataset, guid, createdAt, description, inUse, remains };
  });
}

/** One that was taken by hand has no mark of its own, and is nobody's business here. */
function snapshots(host: HostRecord, view: TargetView, explained: Explained, own: OwnMarks): Orphan[] {
  return [...view.snapshots.values()].flatMap(({ name, guid, owner, cluster, usedBytes, clones, holds, createdAt }) => {
    if (owner === undefined || cluster !== own.clusterId) return [];
    if (explained.snapshots.has(`${host.id} ${name}`) || explained.snapshots.has(owner)) return [];
    const remains: Remains = { kind: "snapshot", snapshot: name, mark: owner, guid };
    const inUse = clones.length > 0 ? `it has the clones ${clones.join(", ")}` : holds > 0 ? `it has ${holds} holds` : undefined;
    const description = `snapshot ${owner}, ${usedBytes} bytes of its own`;
    return { hostId: host.id, kind: "snapshot", name, guid, createdAt, description, inUse, remains };
  });
}

function exports(host: HostRecord, view: TargetView, explained: Explained, own: OwnMarks): Orphan[] {
  return [...view.exports.values()].flatMap((found) => {
    const { handle, initiators } = found;
    const target = found.target ?? `${own.iqnPrefix}:${handle}`;
    if (explained.handles.has(handle)) return found.target === undefined ? [] : strangers(host, found, found.target, explained, own);
    if (!isOurTarget(target, own) || !mayBeOurs(host, view, found, own)) return [];
    const connected = initiators.filter(({ session }) => session === "active").map(({ iqn }) => iqn);
    const seen = [found.backstore?.devicePath ?? "no backstore", found.target === undefined ? "no target" : `${initiators.length} initiators`];
    const inUse = connected.length === 0 ? undefined : `${connected.join(", ")} has a session`;
    return made(host, { kind: "export", handle, target }, target, seen.join(", "), undefined, inUse);
  });
}

/** Two installations may share a host and a name prefix; then the mark on the zvol tells whose an export is. */
function mayBeOurs(host: HostRecord, view: TargetView, { backstore }: LioExport, own: OwnMarks): boolean {
  if (backstore === undefined) return true;
  const dataset = backstore.devicePath.replace(/^\/dev\/zvol\//, "");
  const pool = host.pools.find(({ parentDataset }) => dataset.startsWith(`${parentDataset}/`));
  const zvols = pool === undefined ? undefined : view.pools.get(pool.name);
  if (typeof zvols !== "object") return false;
  const owner = zvols.get(dataset)?.owner;
  return owner === undefined || owner.cluster === own.clusterId;
}

function strangers(host: HostRecord, { initiators }: LioExport, target: string, explained: Explained, own: OwnMarks): Orphan[] {
  if (!isOurTarget(target, own)) return [];
  return initiators
    .filter(({ iqn }) => !explained.attachments.has(`${target} ${iqn}`))
    .map(({ iqn, session }) => made(host, { kind: "acl", target, initiator: iqn }, `${target} ${iqn}`, `session: ${session}`));
}

function onInitiator(host: HostRecord, view: InitiatorView, explained: Explained, own: OwnMarks): Orphan[] {
  const isExplained = (target: string): boolean =>
    explained.attachments.has(`${target} ${host.id}`) || explained.attachments.has(`${target} ${view.initiatorName}`);
  const sessions = [...view.sessions.values()].filter(({ target }) => isOurTarget(target, own) && !isExplained(target));
  const records = [...view.records].filter((target) => isOurTarget(target, own) && !isExplained(target));
  return [
    ...sessions.flatMap((session) => sessionAndMounts(host, view, session)),
    ...records.map((target) => made(host, { kind: "node_record", target }, target, "")),
  ];
}

function sessionAndMounts(host: HostRecord, view: InitiatorView, { sid, target, state, devices }: Session): Orphan[] {
  const all = [...view.mounts.values()].flat();
  const mounts = devices.flatMap((device) => mountsOfDevice(all, device));
  const names = devices.map(({ name }) => `/dev/${name}`).join(", ");
  const inUse = mounts.length > 0 ? `it is mounted at ${mounts.map((mount) => mount.target).join(", ")}` : undefined;
  return [
    made(host, { kind: "session", target }, target, `${state}, ${names === "" ? "no device" : names}`, String(sid), inUse),
    ...mounts.map((mount) =>
      made(host, { kind: "mount", path: mount.target, majorMinor: mount.majorMinor, target }, mount.target, `${mount.source} of ${target}`, String(mount.id)),
    ),
  ];
}

/** Once its session has ended nothing tells whose a mount was. It stays listed: it is in the way of whoever wants the path. */
function ofDeadDisks(host: HostRecord, { sessions, mounts }: InitiatorView, dead: readonly StaleMount[], { paths }: Explained): Orphan[] {
  const all = [...mounts.values()].flat();
  const ofSessions = new Set([...sessions.values()].flatMap(({ devices }) => devices.flatMap((device) => mountsOfDevice(all, device))).map(({ target }) => target));
  return dead
    .filter(({ target }) => !ofSessions.has(target) && !paths.has(`${host.id} ${target}`))
    .map(({ target, majorMinor }) => made(host, { kind: "mount", path: target, majorMinor }, target, "mount of a disk that is gone", majorMinor));
}

function made(host: HostRecord, remains: Remains, name: string, description: string, which = "", inUse?: string): Orphan {
  const guid = createHash("sha256").update(JSON.stringify([host.id, remains, which])).digest("hex").slice(0, 16);
  return { hostId: host.id, kind: remains.kind, name, guid, createdAt: undefined, description, inUse, remains };
}

function isOurTarget(target: string, { iqnPrefix }: OwnMarks): boolean {
  return target.startsWith(`${iqnPrefix}:`) && /^[0-9a-f]{16}$/.test(target.slice(iqnPrefix.length + 1));
}
