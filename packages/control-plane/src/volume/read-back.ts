import { parseHostPath, parseIqn } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
import { missingOfExport, shutOutOf, wronglyProtectedOf } from "../reconcile/compare.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findDevice } from "../workflow/connect-volume.ts";
import { showsDevice } from "../workflow/paths.ts";
import { presentPortals, textOf } from "../workflow/portals.ts";
import { hasStopped } from "../workflow/stopped-filesystem.ts";
import type { RequestDeps } from "./volume-requests.ts";

// "Already so" is answered only after looking (I4): a record may be older than the last reboot of a host. A host that
// does not answer makes these throw; it never counts as "not there".

export async function exportIsThere(deps: RequestDeps, volume: VolumeRecord): Promise<boolean> {
  // Its host may listen elsewhere by now.
  if (textOf(await presentPortals(deps, volume)) !== textOf(volume.portals)) return false;
  const { lio } = await deps.machines.get(volume.hostId);
  const key = { handle: volume.handle, target: parseIqn(volume.targetName) };
  const found = await lio.findExport(key, noSignal());
  if (found === undefined) return false;
  return [missingOfExport(volume, found), shutOutOf(volume, found), wronglyProtectedOf(volume, found)].every(({ length }) => length === 0);
}

export async function sessionIsThere(deps: RequestDeps, volume: VolumeRecord, hostId: HostId): Promise<boolean> {
  const { iscsi } = await deps.machines.get(hostId);
  const session = await iscsi.findSession({ target: parseIqn(volume.targetName) }, noSignal());
  if (session?.state !== "LOGGED_IN") return false;
  return session.devices.some(
    ({ serial, sizeBytes, state }) => serial === volume.handle && sizeBytes >= volume.capacityBytes && !deadStates.has(state),
  );
}

/** Of a disk that answers nothing until somebody brings it back (scsi_device_state_name, Linux 6.1). */
const deadStates: ReadonlySet<string> = new Set(["offline", "transport-offline", "deleted"]);

export async function stagingIsThere(
  deps: RequestDeps,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
): Promise<boolean> {
  if (!(await sessionIsThere(deps, volume, attachment.hostId))) return false;
  return volume.mode === "block" || shows(deps, volume, attachment, attachment.stagingPath);
}

export async function mountIsThere(
  deps: RequestDeps,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
  targetPath: string,
): Promise<boolean> {
  return (await sessionIsThere(deps, volume, attachment.hostId)) && shows(deps, volume, attachment, targetPath);
}

/** Shows it, and can be used. A filesystem that stopped after an error is no answer to a pod. */
async function shows(deps: RequestDeps, volume: VolumeRecord, attachment: AttachmentRecord, path: string): Promise<boolean> {
  const machine = await deps.machines.get(attachment.hostId);
  const device = await findDevice(machine, volume, noSignal().signal);
  const mount = await machine.mounts.find(parseHostPath(path), noSignal());
  if (mount === undefined || !showsDevice(mount, device)) return false;
  return volume.mode === "block" || !hasStopped(mount, attachment);
}

/** Nothing cuts these short but their own limits: they are part of an operation, not of the call. */
function noSignal(): { readonly signal: AbortSignal } {
  return { signal: new AbortController().signal };
}
