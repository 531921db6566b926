/* eslint-disable @typescript-eslint/no-unsafe-class-instance-assignment --
   TypeORM declares what an EntitySchema takes as a class, and documents literals. */
import { EntitySchema, type EntitySchemaColumnOptions } from "typeorm";

/**
 * Rows as the tables hold them; what they mean is in model.ts. Nothing is null: absent is the empty text.
 * - sizes are decimal text of 19 digits with leading zeros: exact up to 2^63-1, and text order is numeric order.
 *   (node-sqlite3 hands INTEGER out as a JS number, which loses digits above 2^53.)
 * - times are ISO 8601 in UTC with milliseconds: text order is time order.
 * - structures are JSON.
 */
export interface HostRow {
  id: string;
  display_name: string;
  labels: string;
  roles: string;
  connection: string;
  pools: string;
  portals: string;
  initiator_iqn: string;
  allowed_roots: string;
  from_template: number;
  condition: string;
  revision: number;
  created_at: string;
  updated_at: string;
}

export interface VolumeRow {
  id: string;
  handle: string;
  display_name: string;
  labels: string;
  host_id: string;
  pool: string;
  dataset: string;
  capacity: string;
  sparse: number;
  zfs_options: string;
  encryption: string;
  mode: string;
  filesystem: string;
  transport: string;
  authentication: string;
  state: string;
  /** statusOf() of the volume; kept for filters and counts. */
  status: string;
  request_fingerprint: string;
  target_name: string;
  published: number;
  portals: string;
  zvol_guid: string;
  generation: number;
  source: string;
  origin: string;
  condition: string;
  revision: number;
  created_at: string;
  updated_at: string;
}

export interface AttachmentRow {
  volume_id: string;
  host_id: string;
  initiator_iqn: string;
  state: string;
  device: string;
  staging_path: string;
  read_only: number;
  target_paths: string;
  read_only_paths: string;
  /** Sealed (secret-box.ts). */
  chap: string;
  generation: number;
  created_at: string;
  write_protected: number;
}

export interface SnapshotRow {
  id: string;
  handle: string;
  display_name: string;
  labels: string;
  volume_id: string;
  host_id: string;
  pool: string;
  dataset: string;
  consistency: string;
  state: string;
  capacity: string;
  content: string;
  zfs_guid: string;
  create_txg: string;
  space: string;
  holds: string;
  group_id: string;
  request_fingerprint: string;
  condition: string;
  revision: number;
  created_at: string;
  updated_at: string;
}

export interface GroupSnapshotRow {
  id: string;
  display_name: string;
  labels: string;
  consistency: string;
  host_id: string;
  volumes: string;
  snapshots: string;
  state: string;
  request_fingerprint: string;
  created_at: string;
}

export interface OperationRow {
  id: string;
  kind: string;
  direction: string;
  subject: string;
  /** The other subjects it claims. */
  holds: string;
  fingerprint: string;
  context: string;
  state: string;
  steps: string;
  failure: string;
  commands: string;
  created_at: string;
  ended_at: string;
}

export interface SettingRow {
  key: string;
  value: string;
}

const text: EntitySchemaColumnOptions = { type: "text" };
const integer: EntitySchemaColumnOptions = { type: "integer" };
const key: EntitySchemaColumnOptions = { type: "text", primary: true };

export const hostEntity = new EntitySchema<HostRow>({
  name: "Host",
  tableName: "hosts",
  columns: {
    id: key,
    display_name: text,
    labels: text,
    roles: text,
    connection: text,
    pools: text,
    portals: text,
    initiator_iqn: text,
    allowed_roots: text,
    from_template: integer,
    condition: text,
    revision: integer,
    created_at: text,
    updated_at: text,
  },
});

export const volumeEntity = new EntitySchema<VolumeRow>({
  name: "Volume",
  tableName: "volumes",
  columns: {
    id: key,
    handle: text,
    display_name: text,
    labels: text,
    host_id: text,
    pool: text,
    dataset: text,
    capacity: text,
    sparse: integer,
    zfs_options: text,
    encryption: text,
    mode: text,
    filesystem: text,
    transport: text,
    authentication: text,
    state: text,
    status: text,
    request_fingerprint: text,
    target_name: text,
    published: integer,
    portals: text,
    zvol_guid: text,
    generation: integer,
    source: text,
    origin: text,
    condition: text,
    revision: integer,
    created_at: text,
    updated_at: text,
  },
});

export const attachmentEntity = new EntitySchema<AttachmentRow>({
  name: "Attachment",
  tableName: "attachments",
  columns: {
    volume_id: key,
    host_id: key,
    initiator_iqn: text,
    state: text,
    device: text,
    staging_path: text,
    read_only: integer,
    target_paths: text,
    read_only_paths: text,
    chap: text,
    generation: integer,
    created_at: text,
    write_protected: integer,
  },
});

export const snapshotEntity = new EntitySchema<SnapshotRow>({
  name: "Snapshot",
  tableName: "snapshots",
  columns: {
    id: key,
    handle: text,
    display_name: text,
    labels: text,
    volume_id: text,
    host_id: text,
    pool: text,
    dataset: text,
    consistency: text,
    state: text,
    capacity: text,
    content: text,
    zfs_guid: text,
    create_txg: text,
    space: text,
    holds: text,
    group_id: text,
    request_fingerprint: text,
    condition: text,
    revision: integer,
    created_at: text,
    updated_at: text,
  },
});

export const groupSnapshotEntity = new EntitySchema<GroupSnapshotRow>({
  name: "GroupSnapshot",
  tableName: "group_snapshots",
  columns: {
    id: key,
    display_name: text,
    labels: text,
    consistency: text,
    host_id: text,
    volumes: text,
    snapshots: text,
    state: text,
    request_fingerprint: text,
    created_at: text,
  },
});

export const operationEntity = new EntitySchema<OperationRow>({
  name: "Operation",
  tableName: "operations",
  columns: {
    id: key,
    kind: text,
    direction: text,
    subject: text,
    holds: text,
    fingerprint: text,
    context: text,
    state: text,
    steps: text,
    failure: text,
    commands: text,
    created_at: text,
    ended_at: text,
  },
});

export const settingEntity = new EntitySchema<SettingRow>({
  name: "Setting",
  tableName: "settings",
  columns: { key, value: text },
});

export const entities = [
  hostEntity,
  volumeEntity,
  attachmentEntity,
  snapshotEntity,
  groupSnapshotEntity,
  operationEntity,
  settingEntity,
];
