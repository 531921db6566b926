import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  AttachmentSchema,
  AttachmentState,
  Authentication,
  CopyMode,
  EncryptionSchema,
  ExportSchema,
  FilesystemSchema,
  Transport,
  VolumeMode,
  VolumeSchema,
  VolumeSourceSchema,
  VolumeStatus,
  type Attachment,
  type Encryption,
  type Volume,
} from "@zfsilo/api";
import type { OperationId } from "@zfsilo/lib";
import { statusOf, type AttachmentRecord, type CopyMode as CopyModeWord, type EncryptionRecord, type FilesystemRecord, type VolumeRecord } from "../../store/model.ts";
import { conditionToMessage } from "./condition.ts";

const status = {
  initial: VolumeStatus.INITIAL,
  published: VolumeStatus.PUBLISHED,
  connected: VolumeStatus.CONNECTED,
  staged: VolumeStatus.STAGED,
  mounted: VolumeStatus.MOUNTED,
} as const satisfies Record<ReturnType<typeof statusOf>, VolumeStatus>;

const mode = {
  filesystem: VolumeMode.FILESYSTEM,
  block: VolumeMode.BLOCK,
} as const satisfies Record<VolumeRecord["mode"], VolumeMode>;

const transport = { iscsi: Transport.ISCSI } as const satisfies Record<VolumeRecord["transport"], Transport>;

const authentication = {
  chap: Authentication.CHAP,
  mutual_chap: Authentication.MUTUAL_CHAP,
  none: Authentication.NONE,
} as const satisfies Record<VolumeRecord["authentication"], Authentication>;

const copyMode = {
  clone: CopyMode.CLONE,
  full: CopyMode.FULL,
} as const satisfies Record<CopyModeWord, CopyMode>;

type ShownState = Exclude<AttachmentRecord["state"], "connecting">;

const attachmentState = {
  connected: AttachmentState.CONNECTED,
  staged: AttachmentState.STAGED,
  mounted: AttachmentState.MOUNTED,
} as const satisfies Record<ShownState, AttachmentState>;

/** What the API shows of a volume. Never a secret: attachments' CHAP credentials have no field to go to. */
export function volumeToMessage(volume: VolumeRecord, simulated: boolean, operation?: OperationId): Volume {
  return create(VolumeSchema, {
    name: `volumes/${volume.id}`,
    handle: volume.handle,
    displayName: volume.displayName,
    labels: { ...volume.labels },
    host: `hosts/${volume.hostId}`,
    pool: volume.pool,
    capacityBytes: volume.capacityBytes,
    sparse: volume.sparse,
    zfsOptions: { ...volume.zfsOptions },
    ...(volume.encryption && { encryption: encryptionToMessage(volume.encryption) }),
    mode: mode[volume.mode],
    ...(volume.filesystem && { filesystem: filesystemToMessage(volume.filesystem) }),
    transport: transport[volume.transport],
    authentication: authentication[volume.authentication],
    status: status[statusOf(volume)],
    attachments: volume.attachments.flatMap(attachmentToMessage),
    ...withCondition(volume),
    ...(volume.published && {
      export: create(ExportSchema, { targetName: volume.targetName, portals: volume.portals.map((portal) => ({ ...portal })) }),
    }),
    dataset: volume.dataset,
    parentDataset: volume.dataset.slice(0, volume.dataset.lastIndexOf("/")),
    revision: BigInt(volume.revision),
    createTime: timestampFromDate(volume.createdAt),
    updateTime: timestampFromDate(volume.updatedAt),
    operation: operation === undefined ? "" : `operations/${operation}`,
    ...(volume.source && { source: sourceToMessage(volume.source) }),
    origin: volume.origin === "" ? "" : `snapshots/${volume.origin}`,
    simulated,
  });
}

function sourceToMessage({ kind, id, copyMode: how }: NonNullable<VolumeRecord["source"]>): Volume["source"] {
  const value = kind === "snapshot" ? `snapshots/${id}` : `volumes/${id}`;
  return create(VolumeSourceSchema, { source: { case: kind, value }, copyMode: copyMode[how] });
}

function encryptionToMessage({ algorithm, keyFile, locked }: EncryptionRecord): Encryption {
  return create(EncryptionSchema, { algorithm, keyFile, unlocked: !locked });
}

function withCondition({ condition }: VolumeRecord): Partial<Pick<Volume, "condition">> {
  const message = conditionToMessage(condition);
  return message === undefined ? {} : { condition: message };
}

/** The uuid is chosen before mkfs; it is shown once there is a filesystem that has it. */
function filesystemToMessage({ type, mkfsOptions, mountOptions, uuid, formatted }: FilesystemRecord): Volume["filesystem"] {
  return create(FilesystemSchema, {
    type,
    mkfsOptions: { ...mkfsOptions },
    mountOptions: [...mountOptions],
    uuid: formatted ? uuid : "",
  });
}

function attachmentToMessage({ state, ...attachment }: AttachmentRecord): Attachment[] {
  // Evidence for recovery, no attachment yet.
  if (state === "connecting") return [];
  const message = create(AttachmentSchema, {
    host: `hosts/${attachment.hostId}`,
    state: attachmentState[state],
    device: attachment.device,
    stagingPath: attachment.stagingPath,
    targetPaths: [...attachment.targetPaths],
    readOnly: attachment.readOnly,
    writeProtected: attachment.writeProtected,
    readOnlyTargetPaths: [...attachment.readOnlyPaths],
    generation: BigInt(attachment.generation),
    createTime: timestampFromDate(attachment.createdAt),
  });
  return [message];
}
