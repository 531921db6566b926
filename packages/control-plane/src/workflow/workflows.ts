import type { Workflow } from "@zfsilo/try";
import { adoptVolume } from "./adopt-volume.ts";
import { cleanInitiator } from "./clean-initiator.ts";
import { cloneVolume } from "./clone-volume.ts";
import { connectVolume } from "./connect-volume.ts";
import { copyVolume } from "./copy-volume.ts";
import { createGroupSnapshot } from "./create-group-snapshot.ts";
import { createSnapshot } from "./create-snapshot.ts";
import { createVolume } from "./create-volume.ts";
import { deleteGroupSnapshot } from "./delete-group-snapshot.ts";
import { deleteOrphan } from "./delete-orphan.ts";
import { deleteSnapshot } from "./delete-snapshot.ts";
import { deleteVolume } from "./delete-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { disconnectVolume } from "./disconnect-volume.ts";
import { editVolume } from "./edit-volume.ts";
import { expandVolume } from "./expand-volume.ts";
import { loadKey } from "./load-key.ts";
import { mountVolume } from "./mount-volume.ts";
import { publishVolume } from "./publish-volume.ts";
import { restoreExport } from "./restore-export.ts";
import { restoreMounts } from "./restore-mounts.ts";
import { restoreSession } from "./restore-session.ts";
import { rollbackVolume } from "./rollback-volume.ts";
import { setVolumeOptions } from "./set-volume-options.ts";
import { shutOutInitiator } from "./shut-out.ts";
import { holdSnapshot, releaseSnapshot } from "./snapshot-holds.ts";
import { stageVolume } from "./stage-volume.ts";
import { unloadKey } from "./unload-key.ts";
import { unmountVolume } from "./unmount-volume.ts";
import { unpublishVolume } from "./unpublish-volume.ts";
import { unstageVolume } from "./unstage-volume.ts";

const all = [
  adoptVolume,
  createVolume,
  deleteVolume,
  expandVolume,
  setVolumeOptions,
  editVolume,
  loadKey,
  unloadKey,
  publishVolume,
  unpublishVolume,
  restoreExport,
  connectVolume,
  disconnectVolume,
  restoreSession,
  restoreMounts,
  shutOutInitiator,
  cleanInitiator,
  deleteOrphan,
  stageVolume,
  unstageVolume,
  mountVolume,
  unmountVolume,
  createSnapshot,
  deleteSnapshot,
  holdSnapshot,
  releaseSnapshot,
  rollbackVolume,
  createGroupSnapshot,
  deleteGroupSnapshot,
  cloneVolume,
  copyVolume,
] as const;

/** Every workflow that may stand in the journal. Removing one strands the operations that dead processes left of it. */
export const workflows: ReadonlyMap<string, Workflow<never, WorkflowDeps>> = new Map(
  all.map((workflow) => [workflow.kind, workflow as unknown as Workflow<never, WorkflowDeps>]),
);
