import type { LioExport, Mount, Session } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { showsDevice } from "../workflow/paths.ts";
import type { InitiatorView, Observation, TargetView } from "./observation.ts";

export const differenceReasons = [
  "HOST_UNREACHABLE",
  "POOL_NOT_IMPORTED",
  "ZVOL_MISSING",
  "FOREIGN_ZVOL",
  "ZVOL_SMALLER",
  "ZVOL_LARGER",
  "TARGET_MISSING",
  "TARGET_INCOMPLETE",
  "TARGET_UNEXPECTED",
  "INITIATOR_SHUT_OUT",
  "INITIATOR_UNEXPECTED",
  "SESSION_MISSING",
  "SESSION_DOWN",
  "DEVICE_MISSING",
  "DEVICE_SMALLER",
  "STAGING_MOUNT_MISSING",
  "TARGET_MOUNT_MISSING",
] as const;
export type DifferenceReason = (typeof differenceReasons)[number];

/** One way in which a host is not as recorded. */
export interface Difference {
  /** Resource name of the host where it was seen. */
  readonly host: string;
  readonly reason: DifferenceReason;
  readonly expected: string;
  readonly observed: string;
}

/** Pure: the record of one volume against what was seen. Empty when all is as recorded. */
export function compareVolume(volume: VolumeRecord, seen: Observation, clusterId: string): Difference[] {
  const target = seen.targets.get(volume.hostId);
  const atTarget = target === undefined ? [unreachable(volume.hostId)] : compareTarget(volume, target, clusterId);
  return [...atTarget, ...volume.attachments.flatMap((attachment) => compareAttachment(volume, attachment, seen))];
}

function compareTarget(volume: VolumeRecord, target: TargetView, clusterId: string): Difference[] {
  const at = (reason: DifferenceReason, expected: string, observed: string): Difference => ({
    host: `hosts/${volume.hostId}`,
    reason,
    expected,
    observed,
  });
  const found: Difference[] = [];
  const pool = target.pools.get(volume.pool);
  const zvol = pool === undefined || pool === "not_imported" ? undefined : pool.get(volume.dataset);
  if (pool === undefined || pool === "not_imported") {
    found.push(at("POOL_NOT_IMPORTED", `pool ${volume.pool}`, "not imported"));
  } else if (zvol === undefined) {
    found.push(at("ZVOL_MISSING", volume.dataset, "no such dataset"));
  } else if (zvol.owner?.volume !== volume.id || zvol.owner.cluster !== clusterId || zvol.guid !== volume.zvolGuid) {
    const owner = zvol.owner === undefined ? "nobody" : `${zvol.owner.volume} of ${zvol.owner.cluster}`;
    found.push(at("FOREIGN_ZVOL", `guid ${volume.zvolGuid}`, `guid ${zvol.guid}, made for ${owner}`));
  } else if (zvol.sizeBytes < volume.capacityBytes) {
    found.push(at("ZVOL_SMALLER", `${volume.capacityBytes} bytes`, `${zvol.sizeBytes} bytes`));
  } else if (zvol.sizeBytes > volume.capacityBytes) {
    found.push(at("ZVOL_LARGER", `${volume.capacityBytes} bytes`, `${zvol.sizeBytes} bytes`));
  }
  const lio = target.exports.get(volume.handle);
  if (!volume.published) {
    if (lio !== undefined) found.push(at("TARGET_UNEXPECTED", "no export", volume.targetName));
    return found;
  }
  if (lio?.target === undefined) return [...found, at("TARGET_MISSING", volume.targetName, "no such target")];
  const missing = missingOfExport(volume, lio);
  if (missing.length > 0) found.push(at("TARGET_INCOMPLETE", volume.targetName, `without ${missing.join(", ")}`));
  for (const iqn of shutOutOf(volume, lio)) found.push(at("INITIATOR_SHUT_OUT", iqn, "no ACL with a mapped LUN"));
  const entitled = new Set(volume.attachments.map(({ initiatorIqn }) => initiatorIqn));
  for (const { iqn } of lio.initiators) {
    if (!entitled.has(iqn)) found.push(at("INITIATOR_UNEXPECTED", "no ACL", iqn));
  }
  return found;
}

/** Which parts of a published volume's export are not there. */
export function missingOfExport(volume: VolumeRecord, lio: LioExport): string[] {
  const portals = new Set(lio.portals.map(({ address, port }) => `${address} ${port}`));
  return [
    ...(lio.backstore?.enabled === true && lio.backstore.devicePath === `/dev/zvol/${volume.dataset}` ? [] : ["backstore"]),
    ...(lio.linked ? [] : ["LUN"]),
    ...(lio.enabled ? [] : ["enabled portal group"]),
    ...volume.portals
      .filter(({ address, port }) => !portals.has(`${address} ${port}`))
      .map(({ address, port }) => `portal ${address} port ${port}`),
  ];
}

/** Names of initiators that are recorded as attached and cannot get at the LUN. */
export function shutOutOf(volume: VolumeRecord, lio: LioExport): string[] {
  return volume.attachments
    .map(({ initiatorIqn }) => initiatorIqn)
    .filter((name) => lio.initiators.find(({ iqn }) => iqn === name)?.mappedLun === undefined);
}

function compareAttachment(volume: VolumeRecord, attachment: AttachmentRecord, seen: Observation): Difference[] {
  const view = seen.initiators.get(attachment.hostId);
  if (view === undefined) return [unreachable(attachment.hostId)];
  const session = view.sessions.get(volume.targetName);
  return [...compareSession(volume, attachment, session), ...compareMounts(volume, attachment, session, view)];
}

function compareSession(
  volume: VolumeRecord,
  { hostId }: AttachmentRecord,
  session: Session | undefined,
): Difference[] {
  const at = (reason: DifferenceReason, expected: string, observed: string): Difference => ({
    host: `hosts/${hostId}`,
    reason,
    expected,
    observed,
  });
  if (session === undefined) return [at("SESSION_MISSING", `session to ${volume.targetName}`, "none")];
  if (session.state !== "LOGGED_IN") return [at("SESSION_DOWN", "LOGGED_IN", session.state)];
  const device = session.devices.find(({ serial }) => serial === volume.handle);
  if (device === undefined) return [at("DEVICE_MISSING", `disk with serial ${volume.handle}`, "none")];
  if (device.sizeBytes >= volume.capacityBytes) return [];
  return [at("DEVICE_SMALLER", `${volume.capacityBytes} bytes`, `${device.sizeBytes} bytes`)];
}

function compareMounts(
  volume: VolumeRecord,
  { hostId, stagingPath, targetPaths }: AttachmentRecord,
  session: Session | undefined,
  { mounts }: InitiatorView,
): Difference[] {
  const device = session?.devices.find(({ serial }) => serial === volume.handle);
  const shows = (path: string): boolean => device !== undefined && showsDevice(topMount(mounts, path), device);
  const wanted: (readonly [DifferenceReason, string])[] = [
    ...(stagingPath === "" || volume.mode === "block" ? [] : [["STAGING_MOUNT_MISSING", stagingPath] as const]),
    ...targetPaths.map((path) => ["TARGET_MOUNT_MISSING", path] as const),
  ];
  return wanted
    .filter(([, path]) => !shows(path))
    .map(([reason, path]) => ({
      host: `hosts/${hostId}`,
      reason,
      expected: `the volume at ${path}`,
      observed: topMount(mounts, path)?.source ?? "nothing mounted",
    }));
}

/** Where several lie on one path, the last one mounted is what shows. */
export function topMount(mounts: readonly Mount[], path: string): Mount | undefined {
  return mounts.filter(({ target }) => target === path).at(-1);
}

function unreachable(host: HostId): Difference {
  return { host: `hosts/${host}`, reason: "HOST_UNREACHABLE", expected: "an answer", observed: "none" };
}
