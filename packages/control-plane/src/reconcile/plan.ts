import { assertNever, parseHostId, type HostId } from "@zfsilo/lib";
import type { PortalRef, VolumeRecord } from "../store/model.ts";
import { unjudged, type Difference, type DifferenceReason } from "./compare.ts";

export const actionKinds = [
  "shut-out",
  "restore-export",
  "restore-session",
  "drop-portals",
  "finish-expansion",
  "restore-mounts",
  "clean-initiator",
] as const;
export type ActionKind = (typeof actionKinds)[number];

/** One repair. All of them can be repeated, and none can lose data. */
export type Action =
  | { readonly kind: "shut-out"; readonly initiatorIqn: string }
  | { readonly kind: "restore-export" }
  /** `renamedTo`: the machine's name now, which is let in in place of the one it was connected with. */
  | { readonly kind: "restore-session"; readonly hostId: HostId; readonly renamedTo?: string }
  | { readonly kind: "drop-portals"; readonly portals: readonly PortalRef[] }
  | { readonly kind: "finish-expansion"; readonly capacityBytes: bigint }
  | { readonly kind: "restore-mounts"; readonly hostId: HostId }
  | { readonly kind: "clean-initiator"; readonly hostId: HostId };

/** What is to be done about one difference: an action, or nothing, and why. */
export type Planned =
  | { readonly difference: Difference; readonly action: Action }
  | { readonly difference: Difference; readonly why: string };

/**
 * Pure: what to do about how one volume differs. While the zvol is not what is recorded, nothing is built on top of it: an
 * export of the wrong or a shrunken device is how data is lost (I1, I3). Shutting out and cleaning up go on all the same. While
 * the record is older than its hosts nothing is done at all: it would fence those who have access by now, and mount where nobody asked.
 */
export function planVolume(volume: VolumeRecord, differences: readonly Difference[]): Planned[] {
  const blocked = differences.find(({ host, reason }) => host === `hosts/${volume.hostId}` && (groundless.has(reason) || isShut(volume, reason)));
  const isOutdated = differences.some(({ reason }) => reason === "RECORD_OUTDATED");
  const missing = (host: string): boolean =>
    differences.some((difference) => difference.host === host && unjudged.includes(difference.reason));
  const renamed = new Map(differences.flatMap((one) => (one.renamed === undefined ? [] : [[one.host, one.renamed] as const])));
  return differences.map((difference) => {
    const decision = underNewName(difference, decide(volume, difference), renamed.get(difference.host));
    if (typeof decision === "string") return { difference, why: decision };
    if (isOutdated) return { difference, why: "waits until it is decided what counts: the record is older than its hosts (RECORD_OUTDATED)" };
    if (blocked !== undefined && builds(decision)) {
      return { difference, why: `waits until ${blocked.reason} at ${blocked.host} is mended` };
    }
    const away = volume.attachments.map(({ hostId }) => `hosts/${hostId}`).find(missing);
    if (decision.kind === "finish-expansion" && away !== undefined) {
      return { difference, why: `waits until ${away} answers: every initiator has to see the new size` };
    }
    return { difference, action: decision };
  });
}

/** Each action once, in the order that works: access ends first, then the target is built, then what lies on it. */
export function actionsOf(planned: readonly Planned[]): Action[] {
  const distinct = new Map(planned.flatMap((one) => ("action" in one ? [[actionKey(one.action), one.action] as const] : [])));
  return [...distinct.values()].sort((a, b) => actionKinds.indexOf(a.kind) - actionKinds.indexOf(b.kind));
}

export function actionKey(action: Action): string {
  switch (action.kind) {
    case "restore-export":
    case "drop-portals":
      return action.kind;
    case "shut-out":
      return `${action.kind} ${action.initiatorIqn}`;
    case "finish-expansion":
      return `${action.kind} ${action.capacityBytes}`;
    case "restore-session":
    case "restore-mounts":
    case "clean-initiator":
      return `${action.kind} ${action.hostId}`;
    default:
      return assertNever(action);
  }
}

/** A session that is missing because the name has changed is made under the new one, by one action, or has to wait as well. */
function underNewName({ reason }: Difference, decision: Action | string, renamed: Difference["renamed"]): Action | string {
  if (renamed === undefined || typeof decision === "string" || decision.kind !== "restore-session") return decision;
  if ("to" in renamed) return { ...decision, renamedTo: renamed.to };
  return reason === "SESSION_MISSING" || reason === "SESSION_DOWN" ? renamed.wait : decision;
}

/** At the target: there is nothing sound to build on. */
const groundless: ReadonlySet<DifferenceReason> = new Set([
  "HOST_UNREACHABLE",
  "HOST_UNREADABLE",
  "DELETING",
  "POOL_NOT_IMPORTED",
  "POOL_SUSPENDED",
  "ZVOL_MISSING",
  "FOREIGN_ZVOL",
  "ZVOL_SMALLER",
]);

/** Its key has to be given by a call: nothing can be built on it before. With one in a file its export brings the key along. */
function isShut({ encryption }: VolumeRecord, reason: DifferenceReason): boolean {
  return reason === "VOLUME_LOCKED" && (encryption?.keyFile ?? "") === "";
}

function builds({ kind }: Action): boolean {
  return kind !== "shut-out" && kind !== "clean-initiator";
}

/** Nobody uses it where it is only staged: it is checked and mounted anew. */
function stoppedFilesystem({ attachments }: VolumeRecord, hostId: HostId): Action | string {
  const paths = attachments.find((attachment) => attachment.hostId === hostId)?.targetPaths ?? [];
  if (paths.length === 0) return { kind: "restore-mounts", hostId };
  return `the filesystem stopped after an error: stop what uses it at ${paths.join(", ")} and call UnmountVolume there; then StageVolume or MountVolume checks it and mounts it anew`;
}

function decide(volume: VolumeRecord, { host, reason, sizeBytes, initiatorIqn, oldPortals, renamed }: Difference): Action | string {
  const hostId = parseHostId(host.slice("hosts/".length));
  switch (reason) {
    case "HOST_UNREACHABLE":
      return "the host does not answer; it is looked at again when it does";
    case "HOST_UNREADABLE":
      return "the host cannot be read; CheckHost tells what is missing on it";
    case "DELETING":
      return "DeleteVolume did not end: call it again";
    case "RECORD_OUTDATED":
      return "the database is older than what its hosts carry, as after a backup was put back: a person decides with SyncVolume accept";
    case "POOL_NOT_IMPORTED":
      return "a person has to import the pool";
    case "POOL_SUSPENDED":
      return "a person has to bring the pool's devices back and clear it (zpool clear)";
    case "ZVOL_MISSING":
      return "what is missing is never made anew: restore it from a copy and call AdoptVolume, or delete the volume";
    case "FOREIGN_ZVOL":
      return "a zvol that is not ours is never touched: a person has to look whose it is; AdoptVolume takes a copy that was restored";
    case "ZVOL_SMALLER":
      return "a zvol that shrank has lost data: a person has to look";
    case "TARGET_UNEXPECTED":
      return "nobody recorded this export: PublishVolume takes it over, and UnpublishVolume then ends it";
    case "FILESYSTEM_READ_ONLY":
      return stoppedFilesystem(volume, hostId);
    case "VOLUME_LOCKED":
      if (isShut(volume, reason)) return "its key has to be given: LoadKey";
      return volume.published ? { kind: "restore-export" } : "PublishVolume loads its key from the key file, and LoadKey does";
    case "ZVOL_LARGER":
      return { kind: "finish-expansion", capacityBytes: sizeBytes ?? volume.capacityBytes };
    case "DEVICE_SMALLER":
    case "FILESYSTEM_SMALLER":
      return { kind: "finish-expansion", capacityBytes: volume.capacityBytes };
    case "TARGET_MISSING":
    case "TARGET_INCOMPLETE":
    case "INITIATOR_SHUT_OUT":
    case "WRITE_PROTECTION_WRONG":
      return { kind: "restore-export" };
    case "PORTAL_OUTDATED":
      if (oldPortals === undefined) return { kind: "restore-export" };
      if (!oldPortals.used) return { kind: "drop-portals", portals: oldPortals.portals };
      return "a session that works is left alone: it moves when it is connected again, or when it is down";
    case "INITIATOR_RENAMED":
      return renamed !== undefined && "wait" in renamed ? renamed.wait : { kind: "restore-session", hostId };
    case "INITIATOR_UNEXPECTED":
      return { kind: "shut-out", initiatorIqn: initiatorIqn ?? "" };
    case "SESSION_MISSING":
    case "SESSION_DOWN":
    case "DEVICE_MISSING":
      return { kind: "restore-session", hostId };
    case "STAGING_MOUNT_MISSING":
    case "TARGET_MOUNT_MISSING":
      return { kind: "restore-mounts", hostId };
    case "SESSION_STALE":
    case "NODE_RECORD_STALE":
      return { kind: "clean-initiator", hostId };
    default:
      return assertNever(reason);
  }
}
