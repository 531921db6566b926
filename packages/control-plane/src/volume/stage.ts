import { posix } from "node:path";
import { assertUnderRoots, parseHostPath, type HostPath } from "@zfsilo/host";
import { invalidField, StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import { nextGeneration } from "../reconcile/current.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { pathExists } from "../workflow/paths.ts";
import { requireAttachment } from "../workflow/attachment.ts";
import { mountVolume } from "../workflow/mount-volume.ts";
import { withoutJournal } from "../workflow/mount-filesystem.ts";
import { stageVolume } from "../workflow/stage-volume.ts";
import { unmountVolume } from "../workflow/unmount-volume.ts";
import { unstageVolume } from "../workflow/unstage-volume.ts";
import type { Answer } from "./answer.ts";
import { mountIsThere, stagingIsThere } from "./read-back.ts";
import { isSound, onHosts, repairFor } from "./repair.ts";
import { alreadySo, hostInRole, notNow, onVolume, runOn, type RequestDeps } from "./volume-requests.ts";

export interface StageInput {
  readonly hostId: HostId;
  readonly stagingPath: string;
  readonly readOnly: boolean;
}

export interface MountInput {
  readonly hostId: HostId;
  readonly targetPath: string;
  readonly readOnly: boolean;
}

export async function requestStage(deps: RequestDeps, id: VolumeId, input: StageInput): Promise<Answer> {
  const { hostId, readOnly } = input;
  const stagingPath = await pathOn(deps, hostId, input.stagingPath, "staging_path");
  return onVolume(deps, stageVolume.kind, id, input, async (volume, begin) => {
    const attachment = requireAttachment(volume, hostId);
    refuseReadOnlyBlock(volume, attachment, readOnly);
    if (attachment.writeProtected && !readOnly) {
      throw notNow(volume, "stage", `hosts/${hostId} may only read it`, "Stage it with read_only, or connect it again without.");
    }
    refuseWithoutJournal(volume, readOnly);
    if (attachment.stagingPath !== "") {
      requireSame(volume, attachment, "stage", attachment.stagingPath === stagingPath && attachment.readOnly === readOnly);
      if (isSound(volume) && (await stagingIsThere(deps, volume, attachment))) return alreadySo(volume);
      return repairFor(deps, volume, begin, onHosts(volume, hostId));
    }
    await refuseTaken(deps, hostId, stagingPath, "staging_path");
    return runOn(deps, id, begin, stageVolume, { volumeId: id, hostId, stagingPath, readOnly });
  });
}

export async function requestUnstage(deps: RequestDeps, id: VolumeId, hostId: HostId): Promise<Answer> {
  return onVolume(deps, unstageVolume.kind, id, { hostId }, async (volume, begin) => {
    const attachment = volume.attachments.find((candidate) => candidate.hostId === hostId);
    if (attachment === undefined || attachment.stagingPath === "") return alreadySo(volume);
    if (attachment.targetPaths.length > 0) {
      const where = attachment.targetPaths.join(", ");
      throw notNow(volume, "unstage", `it is mounted at ${where}`, "Call UnmountVolume for each path first.");
    }
    return runOn(deps, id, begin, unstageVolume, {
      volumeId: id,
      hostId,
      stagingPath: attachment.stagingPath,
      ...(await nextGeneration(deps, volume)),
    });
  });
}

export async function requestMount(deps: RequestDeps, id: VolumeId, input: MountInput): Promise<Answer> {
  const { hostId, readOnly } = input;
  const targetPath = await pathOn(deps, hostId, input.targetPath, "target_path");
  return onVolume(deps, mountVolume.kind, id, input, async (volume, begin) => {
    const attachment = requireAttachment(volume, hostId);
    refuseReadOnlyBlock(volume, attachment, readOnly);
    if (attachment.stagingPath === "") {
      throw notNow(volume, "mount", `it is not staged on hosts/${hostId}`, "Call StageVolume first.");
    }
    if (attachment.stagingPath === targetPath) throw invalidField("target_path", "is the staging path");
    if (attachment.targetPaths.includes(targetPath)) {
      requireSameMount(volume, attachment, targetPath, readOnly);
      if (isSound(volume) && (await mountIsThere(deps, volume, attachment, targetPath))) return alreadySo(volume);
      return repairFor(deps, volume, begin, onHosts(volume, hostId));
    }
    await refuseTaken(deps, hostId, targetPath, "target_path");
    return runOn(deps, id, begin, mountVolume, { volumeId: id, hostId, targetPath, readOnly });
  });
}

export async function requestUnmount(
  deps: RequestDeps,
  id: VolumeId,
  hostId: HostId,
  path: string,
): Promise<Answer> {
  const targetPath = parseHostPath(path, "target_path");
  return onVolume(deps, unmountVolume.kind, id, { hostId, targetPath }, async (volume, begin) => {
    const attachment = volume.attachments.find((candidate) => candidate.hostId === hostId);
    if (attachment === undefined || !attachment.targetPaths.includes(targetPath)) return alreadySo(volume);
    return runOn(deps, id, begin, unmountVolume, { volumeId: id, hostId, targetPath, ...(await nextGeneration(deps, volume)) });
  });
}

async function pathOn(deps: RequestDeps, hostId: HostId, text: string, field: string): Promise<HostPath> {
  const path = parseHostPath(text, field);
  const host = await hostInRole(deps, hostId, "initiator", "host");
  const roots = host.allowedRoots.map((root) => parseHostPath(root));
  assertUnderRoots(path, roots, field);
  const parent = posix.dirname(path);
  if (await pathExists(deps.machines.of(host), parent, new AbortController().signal)) return path;
  throw invalidField(field, `${parent} does not exist on hosts/${hostId}`, "Only the last part of the path is made. Make the rest first.");
}

/** What others have mounted there would be hidden by our mount. */
async function refuseTaken(deps: RequestDeps, hostId: HostId, path: HostPath, field: string): Promise<void> {
  const { mounts } = await deps.machines.get(hostId);
  const found = await mounts.find(path, { signal: new AbortController().signal });
  if (found === undefined) return;
  throw new StorageError("precondition", `${field}: ${path} on hosts/${hostId} is a mount point already`, {
    details: { field },
    hint: `${found.source} is mounted there. Choose another path, or unmount it.`,
  });
}

function refuseReadOnlyBlock(volume: VolumeRecord, { writeProtected }: AttachmentRecord, readOnly: boolean): void {
  if (volume.mode === "filesystem" || writeProtected || !readOnly) return;
  const hint = "A device node bound read-only can still be written. Connect it with read_only.";
  throw invalidField("read_only", "is not available for raw block that is connected for writing", hint);
}

/** ext4 would write without a journal, and xfs refuses the mount. */
function refuseWithoutJournal(volume: VolumeRecord, readOnly: boolean): void {
  const { filesystem } = volume;
  if (readOnly || filesystem === undefined || !filesystem.mountOptions.includes(withoutJournal[filesystem.type])) return;
  const option = withoutJournal[filesystem.type];
  throw notNow(volume, "stage", `its mount option ${option} is for reading alone`, "Stage it with read_only, or take the option away.");
}

function requireSameMount(volume: VolumeRecord, { readOnlyPaths }: AttachmentRecord, targetPath: string, readOnly: boolean): void {
  const isReadOnly = readOnlyPaths.includes(targetPath);
  if (isReadOnly === readOnly) return;
  const how = isReadOnly ? "read-only" : "read-write";
  throw notNow(volume, "mount", `it is mounted at ${targetPath} (${how})`, "Call UnmountVolume first.");
}

function requireSame(volume: VolumeRecord, attachment: AttachmentRecord, doing: string, same: boolean): void {
  if (same) return;
  const how = attachment.readOnly ? "read-only" : "read-write";
  throw notNow(volume, doing, `it is staged at ${attachment.stagingPath} (${how})`, "Call UnstageVolume first.");
}
