import type { LioExport, Mount, Session } from "@zfsilo/host";
import { errorChain, type HostId } from "@zfsilo/lib";
import type { AttachmentRecord, PortalRef, VolumeRecord } from "../store/model.ts";
import { unusableTailBytes } from "../workflow/grow-filesystem.ts";
import { devicePathOf } from "../workflow/ownership.ts";
import { showsDevice } from "../workflow/paths.ts";
import { compareName } from "./compare-name.ts";
import { comparePortals } from "./compare-portals.ts";
import { hasStopped } from "../workflow/stopped-filesystem.ts";
import type { InitiatorView, Observation, TargetView } from "./observation.ts";

export const differenceReasons = [
  "HOST_UNREACHABLE",
  "HOST_UNREADABLE",
  "DELETING",
  "RECORD_OUTDATED",
  "POOL_NOT_IMPORTED",
  "POOL_SUSPENDED",
  "ZVOL_MISSING",
  "FOREIGN_ZVOL",
  "ZVOL_SMALLER",
  "ZVOL_LARGER",
  "VOLUME_LOCKED",
  "TARGET_MISSING",
  "TARGET_INCOMPLETE",
  "TARGET_UNEXPECTED",
  "PORTAL_OUTDATED",
  "INITIATOR_SHUT_OUT",
  "WRITE_PROTECTION_WRONG",
  "INITIATOR_UNEXPECTED",
  "INITIATOR_RENAMED",
  "SESSION_MISSING",
  "SESSION_DOWN",
  "DEVICE_MISSING",
  "DEVICE_SMALLER",
  "FILESYSTEM_SMALLER",
  "FILESYSTEM_READ_ONLY",
  "STAGING_MOUNT_MISSING",
  "TARGET_MOUNT_MISSING",
  "SESSION_STALE",
  "NODE_RECORD_STALE",
] as const;
export type DifferenceReason = (typeof differenceReasons)[number];

/** Reasons that say nothing of the volume: its hosts could not be looked at. */
export const unjudged: readonly DifferenceReason[] = ["HOST_UNREACHABLE", "HOST_UNREADABLE"];

/** One way in which a host is not as recorded. */
export interface Difference {
  /** Resource name of the host where it was seen. */
  readonly host: string;
  readonly reason: DifferenceReason;
  readonly expected: string;
  readonly observed: string;
  /** The size that was seen, for ZVOL_LARGER. */
  readonly sizeBytes?: bigint;
  /** Who has access, for INITIATOR_UNEXPECTED. */
  readonly initiatorIqn?: string;
  /** For INITIATOR_RENAMED: the name to let in instead, or why that has to wait. */
  readonly renamed?: { readonly to: string } | { readonly wait: string };
  /** Where it is exported besides, for PORTAL_OUTDATED, and whether somebody may have a session there. */
  readonly oldPortals?: { readonly portals: readonly PortalRef[]; readonly used: boolean };
}

/** Pure: the record of one volume against what was seen. Empty when all is as recorded. */
export function compareVolume(volume: VolumeRecord, seen: Observation, clusterId: string): Difference[] {
  const target = seen.targets.get(volume.hostId);
  const atTarget = target === undefined ? unseen(volume.hostId, seen) : compareTarget(volume, target, seen, clusterId);
  return [
    ...atTarget,
    ...volume.attachments.flatMap((attachment) => compareAttachment(volume, attachment, seen)),
    ...compareStrangers(volume, seen),
  ];
}

function compareTarget(volume: VolumeRecord, target: TargetView, seen: Observation, clusterId: string): Difference[] {
  const at = (reason: DifferenceReason, expected: string, observed: string): Difference => ({
    host: `hosts/${volume.hostId}`,
    reason,
    expected,
    observed,
  });
  if (volume.state === "deleting") return [at("DELETING", "no volume", "its zvol is destroyed and its record is not removed yet")];
  const found: Difference[] = [];
  const newer = newerOnHost(volume, target, clusterId);
  if (newer !== undefined) found.push(at("RECORD_OUTDATED", `generation ${volume.generation}`, `generation ${newer}${usersOf(target, volume)}`));
  const pool = target.pools.get(volume.pool);
  const zvol = typeof pool === "object" ? pool.get(volume.dataset) : undefined;
  if (pool === "suspended") {
    found.push(at("POOL_SUSPENDED", `pool ${volume.pool} online`, "its I/O is suspended"));
  } else if (pool === undefined || pool === "not_imported") {
    found.push(at("POOL_NOT_IMPORTED", `pool ${volume.pool}`, "not imported"));
  } else if (zvol === undefined) {
    found.push(at("ZVOL_MISSING", volume.dataset, "no such dataset"));
  } else if (zvol.owner?.volume !== volume.id || zvol.owner.cluster !== clusterId || zvol.guid !== volume.zvolGuid) {
    const owner = zvol.owner === undefined ? "nobody" : `${zvol.owner.volume} of ${zvol.owner.cluster}`;
    found.push(at("FOREIGN_ZVOL", `guid ${volume.zvolGuid}`, `guid ${zvol.guid}, made for ${owner}`));
  } else if (zvol.sizeBytes < volume.capacityBytes) {
    found.push(at("ZVOL_SMALLER", `${volume.capacityBytes} bytes`, `${zvol.sizeBytes} bytes`));
  } else if (zvol.sizeBytes > volume.capacityBytes) {
    const { sizeBytes } = zvol;
    found.push({ ...at("ZVOL_LARGER", `${volume.capacityBytes} bytes`, `${sizeBytes} bytes`), sizeBytes });
  }
  if (zvol?.encryption?.locked === true && zvol.guid === volume.zvolGuid) {
    found.push(at("VOLUME_LOCKED", `the key of ${zvol.encryption.root} loaded`, "it is not"));
  }
  const lio = target.exports.get(volume.handle);
  if (!volume.published) {
    if (lio !== undefined) found.push(at("TARGET_UNEXPECTED", "no export", volume.targetName));
    return found;
  }
  if (lio?.target === undefined) return [...found, at("TARGET_MISSING", volume.targetName, "no such target")];
  const missing = missingOfExport(volume, lio);
  if (missing.length > 0) found.push(at("TARGET_INCOMPLETE", volume.targetName, `without ${missing.join(", ")}`));
  found.push(...comparePortals(volume, target, lio, seen));
  for (const iqn of shutOutOf(volume, lio)) found.push(at("INITIATOR_SHUT_OUT", iqn, "no ACL with a mapped LUN and its credentials"));
  for (const { initiatorIqn, writeProtected } of wronglyProtectedOf(volume, lio)) {
    const [expected, observed] = writeProtected ? ["may only read", "may write"] : ["may write", "may only read"];
    found.push(at("WRITE_PROTECTION_WRONG", `${initiatorIqn} ${expected}`, `it ${observed}`));
  }
  const entitled = new Set(volume.attachments.map(({ initiatorIqn }) => initiatorIqn));
  for (const { iqn } of lio.initiators) {
    if (!entitled.has(iqn)) found.push({ ...at("INITIATOR_UNEXPECTED", "no ACL", iqn), initiatorIqn: iqn });
  }
  return found;
}

/** The generation that the target shows on the export or on our zvol, when it is newer than the record. */
export function newerOnHost(volume: VolumeRecord, target: TargetView, clusterId: string): number | undefined {
  const pool = target.pools.get(volume.pool);
  const zvol = typeof pool === "object" ? pool.get(volume.dataset) : undefined;
  const isOurs = zvol?.owner?.volume === volume.id && zvol.owner.cluster === clusterId && zvol.guid === volume.zvolGuid;
  const shown = Math.max(target.exports.get(volume.handle)?.backstore?.generation ?? 0, (isOurs ? zvol.generation : undefined) ?? 0);
  return shown > volume.generation ? shown : undefined;
}

/** For the person who decides: who is let in now. */
function usersOf(target: TargetView, { handle }: VolumeRecord): string {
  const names = target.exports.get(handle)?.initiators.map(({ iqn, session }) => `${iqn} (session: ${session})`) ?? [];
  return names.length === 0 ? "" : `, open to ${names.join(", ")}`;
}

/** Which parts of a published volume's export are not there. */
export function missingOfExport(volume: VolumeRecord, lio: LioExport): string[] {
  const portals = new Set(lio.portals.map(({ address, port }) => `${address} ${port}`));
  return [
    ...(lio.backstore?.enabled === true && lio.backstore.devicePath === devicePathOf(volume) ? [] : ["backstore"]),
    ...(lio.linked ? [] : ["LUN"]),
    ...(lio.enabled ? [] : ["enabled portal group"]),
    ...volume.portals
      .filter(({ address, port }) => !portals.has(`${address} ${port}`))
      .map(({ address, port }) => `portal ${address} port ${port}`),
  ];
}

/** Names of initiators that are recorded as attached and cannot log in with what they were given, or not get at the LUN. */
export function shutOutOf(volume: VolumeRecord, lio: LioExport): string[] {
  return volume.attachments
    .filter(({ initiatorIqn, chap }) => {
      const found = lio.initiators.find(({ iqn }) => iqn === initiatorIqn);
      return found?.mappedLun === undefined || found.userid !== chap?.userid;
    })
    .map(({ initiatorIqn }) => initiatorIqn);
}

/** Attachments whose initiator may do another thing at the target than is recorded. */
export function wronglyProtectedOf({ attachments }: VolumeRecord, { initiators }: LioExport): AttachmentRecord[] {
  return attachments.filter(({ initiatorIqn, writeProtected }) => {
    const seen = initiators.find(({ iqn }) => iqn === initiatorIqn)?.writeProtected;
    return seen !== undefined && seen !== writeProtected;
  });
}

function compareAttachment(volume: VolumeRecord, attachment: AttachmentRecord, seen: Observation): Difference[] {
  const view = seen.initiators.get(attachment.hostId);
  if (view === undefined) return unseen(attachment.hostId, seen);
  const session = view.sessions.get(volume.targetName);
  const renamed = compareName(volume, attachment, view, seen);
  return [...renamed, ...compareSession(volume, attachment, session), ...compareMounts(volume, attachment, session, view)];
}

/** What initiators have of the volume that are not connected to it, under whatever host they are known. */
function compareStrangers(volume: VolumeRecord, seen: Observation): Difference[] {
  const hosts = new Set(volume.attachments.map(({ hostId }) => hostId));
  const names = new Set(volume.attachments.map(({ initiatorIqn }) => initiatorIqn));
  const found: Difference[] = [];
  for (const [hostId, view] of seen.initiators) {
    if (hosts.has(hostId) || names.has(view.initiatorName)) continue;
    const session = view.sessions.get(volume.targetName);
    const host = `hosts/${hostId}`;
    if (session !== undefined) {
      const observed = `session to ${volume.targetName}, ${session.state}`;
      found.push({ host, reason: "SESSION_STALE", expected: "no session", observed });
    } else if (view.records.has(volume.targetName)) {
      found.push({ host, reason: "NODE_RECORD_STALE", expected: "no node record", observed: `one for ${volume.targetName}` });
    }
  }
  return found;
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
  { hostId, stagingPath, targetPaths, readOnly }: AttachmentRecord,
  session: Session | undefined,
  { mounts, filesystemBytes }: InitiatorView,
): Difference[] {
  const device = session?.devices.find(({ serial }) => serial === volume.handle);
  const host = `hosts/${hostId}`;
  const shows = (path: string): boolean => device !== undefined && showsDevice(topMount(mounts, path), device);
  const wanted: (readonly [DifferenceReason, string])[] = [
    ...(stagingPath === "" || volume.mode === "block" ? [] : [["STAGING_MOUNT_MISSING", stagingPath] as const]),
    ...targetPaths.map((path) => ["TARGET_MOUNT_MISSING", path] as const),
  ];
  const found: Difference[] = wanted
    .filter(([, path]) => !shows(path))
    .map(([reason, path]) => ({
      host,
      reason,
      expected: `the volume at ${path}`,
      observed: topMount(mounts, path)?.source ?? "nothing mounted",
    }));
  if (volume.mode === "block" || stagingPath === "" || device === undefined || readOnly || !shows(stagingPath)) return found;
  const superOptions = topMount(mounts, stagingPath)?.superOptions ?? [];
  if (hasStopped({ superOptions }, { readOnly })) {
    found.push({ host, reason: "FILESYSTEM_READ_ONLY", expected: `${stagingPath} writable`, observed: superOptions.join(",") });
  }
  const bytes = filesystemBytes.get(device.majorMinor);
  if (bytes !== undefined && bytes + unusableTailBytes < device.sizeBytes) {
    found.push({ host, reason: "FILESYSTEM_SMALLER", expected: `${device.sizeBytes} bytes`, observed: `${bytes} bytes` });
  }
  return found;
}

/** Where several lie on one path, the last one mounted is what shows. */
function topMount(mounts: InitiatorView["mounts"], path: string): Mount | undefined {
  return mounts.get(path)?.at(-1);
}

/** Of a host that was not looked at nothing is said. */
export function unseen(id: HostId, { failures }: Observation): Difference[] {
  const failure = failures.get(id);
  if (failure === undefined) return [];
  const host = `hosts/${id}`;
  const observed = errorChain(failure.error);
  if (failure.kind === "unreachable") return [{ host, reason: "HOST_UNREACHABLE", expected: "an answer", observed }];
  return [{ host, reason: "HOST_UNREADABLE", expected: "an answer we know", observed }];
}
