import { Secret, type HostId, type VolumeHandle, type VolumeId } from "@zfsilo/lib";
import { boolColumn, capacityColumn, conditionFrom, fromJson, fromOptionalJson, optionalJson } from "./column.ts";
import type { AttachmentRow, VolumeRow } from "./entities.ts";
import { statusOf, type AttachmentRecord, type ChapRecord, type EncryptionRecord, type FilesystemRecord, type SourceRecord, type VolumeRecord } from "./model.ts";
import type { SecretBox } from "./secret-box.ts";
import type { VolumeChange } from "./stores.ts";

export type VolumeWithAttachments = VolumeRow & { readonly attachments: readonly AttachmentRow[] };

export function volumeRow(volume: VolumeRecord): VolumeRow {
  return {
    id: volume.id,
    handle: volume.handle,
    display_name: volume.displayName,
    labels: JSON.stringify(volume.labels),
    host_id: volume.hostId,
    pool: volume.pool,
    dataset: volume.dataset,
    capacity: capacityColumn(volume.capacityBytes),
    sparse: boolColumn(volume.sparse),
    zfs_options: JSON.stringify(volume.zfsOptions),
    encryption: optionalJson(volume.encryption),
    mode: volume.mode,
    filesystem: optionalJson(volume.filesystem),
    transport: volume.transport,
    authentication: volume.authentication,
    state: volume.state,
    status: statusOf(volume),
    request_fingerprint: volume.requestFingerprint,
    target_name: volume.targetName,
    published: boolColumn(volume.published),
    portals: JSON.stringify(volume.portals),
    zvol_guid: volume.zvolGuid,
    generation: volume.generation,
    source: optionalJson(volume.source),
    origin: volume.origin,
    condition: optionalJson(volume.condition),
    revision: volume.revision,
    created_at: volume.createdAt.toISOString(),
    updated_at: volume.updatedAt.toISOString(),
  };
}

export function volumeFrom(row: VolumeWithAttachments, box: SecretBox): VolumeRecord {
  return {
    id: row.id as VolumeId,
    handle: row.handle as VolumeHandle,
    displayName: row.display_name,
    labels: fromJson(row.labels),
    hostId: row.host_id as HostId,
    pool: row.pool,
    dataset: row.dataset,
    capacityBytes: BigInt(row.capacity),
    sparse: row.sparse === 1,
    zfsOptions: fromJson(row.zfs_options),
    encryption: fromOptionalJson<EncryptionRecord>(row.encryption),
    mode: row.mode as VolumeRecord["mode"],
    filesystem: fromOptionalJson<FilesystemRecord>(row.filesystem),
    transport: row.transport as VolumeRecord["transport"],
    authentication: row.authentication as VolumeRecord["authentication"],
    state: row.state as VolumeRecord["state"],
    requestFingerprint: row.request_fingerprint,
    targetName: row.target_name,
    published: row.published === 1,
    portals: fromJson(row.portals),
    zvolGuid: row.zvol_guid,
    generation: row.generation,
    source: fromOptionalJson<SourceRecord>(row.source),
    origin: row.origin as VolumeRecord["origin"],
    condition: conditionFrom(row.condition),
    revision: row.revision,
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    attachments: row.attachments.map((attachment) => attachmentFrom(attachment, box)),
  };
}

/** The columns that a change writes: those whose key is present, whatever the value. */
const changeColumns = {
  displayName: ({ displayName }) => ({ display_name: displayName }),
  labels: ({ labels }) => ({ labels: JSON.stringify(labels) }),
  capacityBytes: ({ capacityBytes }) => ({ capacity: capacityColumn(capacityBytes) }),
  zfsOptions: ({ zfsOptions }) => ({ zfs_options: JSON.stringify(zfsOptions) }),
  encryption: ({ encryption }) => ({ encryption: optionalJson(encryption) }),
  filesystem: ({ filesystem }) => ({ filesystem: optionalJson(filesystem) }),
  state: ({ state }) => ({ state }),
  published: ({ published }) => ({ published: boolColumn(published) }),
  portals: ({ portals }) => ({ portals: JSON.stringify(portals) }),
  pool: ({ pool }) => ({ pool }),
  dataset: ({ dataset }) => ({ dataset }),
  zvolGuid: ({ zvolGuid }) => ({ zvol_guid: zvolGuid }),
  generation: ({ generation }) => ({ generation }),
  origin: ({ origin }) => ({ origin }),
  condition: ({ condition }) => ({ condition: optionalJson(condition) }),
} as const satisfies Record<keyof VolumeChange, (volume: VolumeRecord) => Partial<VolumeRow>>;

export function volumeColumns(changed: VolumeRecord, keys: readonly (keyof VolumeChange)[]): Partial<VolumeRow> {
  return Object.assign({}, ...keys.map((key) => changeColumns[key](changed))) as Partial<VolumeRow>;
}

export function isVolumeChangeKey(key: string): key is keyof VolumeChange {
  return Object.hasOwn(changeColumns, key);
}

interface StoredChap {
  readonly userid: string;
  readonly password: string;
  readonly mutual?: { readonly userid: string; readonly password: string };
}

const ownerOf = (volumeId: string, hostId: string): string => `${volumeId}/${hostId}`;

export function attachmentRow(attachment: AttachmentRecord, box: SecretBox): AttachmentRow {
  const { volumeId, hostId, chap } = attachment;
  return {
    volume_id: volumeId,
    host_id: hostId,
    initiator_iqn: attachment.initiatorIqn,
    state: attachment.state,
    device: attachment.device,
    staging_path: attachment.stagingPath,
    read_only: boolColumn(attachment.readOnly),
    target_paths: JSON.stringify(attachment.targetPaths),
    read_only_paths: JSON.stringify(attachment.readOnlyPaths),
    chap: chap === undefined ? "" : box.seal(JSON.stringify(clearChap(chap)), ownerOf(volumeId, hostId)),
    generation: attachment.generation,
    created_at: attachment.createdAt.toISOString(),
    write_protected: boolColumn(attachment.writeProtected),
  };
}

function attachmentFrom(row: AttachmentRow, box: SecretBox): AttachmentRecord {
  return {
    volumeId: row.volume_id as VolumeId,
    hostId: row.host_id as HostId,
    initiatorIqn: row.initiator_iqn,
    state: row.state as AttachmentRecord["state"],
    device: row.device,
    stagingPath: row.staging_path,
    readOnly: row.read_only === 1,
    targetPaths: fromJson(row.target_paths),
    readOnlyPaths: fromJson(row.read_only_paths),
    chap: row.chap === "" ? undefined : chapFrom(box.open(row.chap, ownerOf(row.volume_id, row.host_id))),
    generation: row.generation,
    createdAt: new Date(row.created_at),
    writeProtected: row.write_protected === 1,
  };
}

function clearChap({ userid, password, mutual }: ChapRecord): StoredChap {
  return {
    userid,
    password: password.reveal(),
    ...(mutual && { mutual: { userid: mutual.userid, password: mutual.password.reveal() } }),
  };
}

function chapFrom(text: string): ChapRecord {
  const { userid, password, mutual } = fromJson<StoredChap>(text);
  return {
    userid,
    password: new Secret(password),
    mutual: mutual && { userid: mutual.userid, password: new Secret(mutual.password) },
  };
}
