import type { GroupSnapshotId, HostId, OperationId, SnapshotId, VolumeId } from "@zfsilo/lib";
import type { Journal, JournalEntry } from "@zfsilo/try";
import type { AgentRecord, AttachmentRecord, GroupSnapshotRecord, HostRecord, LeftoverRecord, SnapshotRecord, VolumeRecord, JoinTokenRecord } from "./model.ts";

export interface PageRequest {
  /** 0 means the default of 50; above 1000 means 1000; negative is invalid_argument `page_size`. */
  readonly pageSize: number;
  readonly pageToken: string;
  readonly filter: string;
  readonly orderBy: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page, also when the last page is exactly full. */
  readonly nextPageToken: string;
}

/** Fields of a volume that may change after creation. A key that is present is stored, whatever its value (clearing included). */
export type VolumeChange = Partial<
  Pick<
    VolumeRecord,
    | "displayName"
    | "labels"
    | "capacityBytes"
    | "zfsOptions"
    | "encryption"
    | "filesystem"
    | "state"
    | "published"
    | "portals"
    | "pool"
    | "dataset"
    | "zvolGuid"
    | "generation"
    | "origin"
    | "condition"
  >
>;

export type HostChange = Partial<
  Pick<
    HostRecord,
    | "displayName"
    | "labels"
    | "roles"
    | "connection"
    | "pools"
    | "portals"
    | "initiatorIqn"
    | "allowedRoots"
    | "condition"
  >
>;

export type VolumeIdentity = Pick<VolumeRecord, "id" | "handle" | "hostId" | "dataset" | "targetName">;

/** Capacity that volumes of any state were promised under one parent dataset. */
export interface Commitment {
  readonly hostId: HostId;
  readonly parent: string;
  readonly volumes: number;
  readonly bytes: bigint;
}

/** Volumes and their attachments. Every method is one short transaction; none spans a host command. */
export interface VolumeStore {
  /** Throws already_exists when the id or the handle is taken. */
  insert(volume: VolumeRecord): Promise<void>;
  find(id: VolumeId): Promise<VolumeRecord | undefined>;
  /** Throws not_found with details {volume}. */
  get(id: VolumeId): Promise<VolumeRecord>;
  /** Volumes in state `ready` or `deleting`, page by page. */
  list(request: PageRequest): Promise<Page<VolumeRecord>>;
  /** Every ready volume that the filter matches, in batches of bounded size. */
  each(filter: string): AsyncIterable<VolumeRecord>;
  /** Raises the revision. With `revision`, throws aborted (reason in details: REVISION_MISMATCH) unless it is the current one. */
  update(id: VolumeId, change: VolumeChange, revision?: number): Promise<VolumeRecord>;
  /** Absent is success. */
  remove(id: VolumeId): Promise<void>;
  /** Inserts or replaces the attachment of (volume, host). */
  putAttachment(attachment: AttachmentRecord): Promise<void>;
  /** Changes some fields. Throws not_found. */
  updateAttachment(
    volume: VolumeId,
    host: HostId,
    change: Partial<Pick<AttachmentRecord, "initiatorIqn" | "state" | "device" | "stagingPath" | "readOnly" | "targetPaths" | "readOnlyPaths">>,
  ): Promise<void>;
  /** Absent is success. */
  removeAttachment(volume: VolumeId, host: HostId): Promise<void>;
  /** Volumes in any state, at most `limit`, that have their zvol on the host, and that are attached to it. */
  namesOn(host: HostId, limit: number): Promise<{ readonly volumes: readonly VolumeId[]; readonly attached: readonly VolumeId[] }>;
  /** How many volumes (any state) have their zvol on the host, and how many attachments it has. */
  countOn(host: HostId): Promise<{ readonly volumes: number; readonly attachments: number }>;
  /** Under which names the host has been connected to volumes. */
  initiatorNamesOn(host: HostId): Promise<readonly string[]>;
  /** By host and parent dataset; the volumes in `except` are not counted. Costs the same however many volumes there are. */
  commitments(except: readonly VolumeId[]): Promise<readonly Commitment[]>;
  countByStatus(): Promise<Readonly<Record<string, number>>>;
  /** Of the volumes whose condition is set, by its reason. */
  countByCondition(): Promise<Readonly<Record<string, number>>>;
  /** Which volumes, in any state, are thin clones of each of these snapshots. One without clones is absent. */
  clonesOf(snapshots: readonly SnapshotId[]): Promise<ReadonlyMap<SnapshotId, readonly VolumeId[]>>;
  /** What each volume of any state, also one that is being made or deleted, is called on its host. */
  identities(): AsyncIterable<VolumeIdentity>;
}

/** One row for each initiator and target that it was forced off; they go when they are cleaned, or with the host. */
export interface LeftoverStore {
  /** One that is known stays as it is. */
  put(leftover: LeftoverRecord): Promise<void>;
  find(host: HostId, targetName: string): Promise<LeftoverRecord | undefined>;
  /** Oldest first. */
  all(): Promise<readonly LeftoverRecord[]>;
  /** Absent is success. */
  remove(host: HostId, targetName: string): Promise<void>;
}

/** Fields of a snapshot that may change after it was taken. */
export type SnapshotChange = Partial<
  Pick<
    SnapshotRecord,
    | "dataset"
    | "consistency"
    | "state"
    | "capacityBytes"
    | "content"
    | "zfsGuid"
    | "createTxg"
    | "space"
    | "holds"
    | "condition"
    | "createdAt"
  >
>;

/** What a snapshot is called on its host. */
export type SnapshotIdentity = Pick<SnapshotRecord, "id" | "hostId" | "dataset" | "handle">;

/** Snapshots. Every method is one short transaction. */
export interface SnapshotStore {
  /** All or none. Throws already_exists when an id is taken. */
  insert(snapshots: readonly SnapshotRecord[]): Promise<void>;
  find(id: SnapshotId): Promise<SnapshotRecord | undefined>;
  /** Throws not_found with details {snapshot}. */
  get(id: SnapshotId): Promise<SnapshotRecord>;
  /** Those that are ready, and with `tombstoned` those that live on for their clones. */
  list(request: PageRequest, tombstoned: boolean): Promise<Page<SnapshotRecord>>;
  /** All but those being made, in batches of bounded size. */
  each(): AsyncIterable<SnapshotRecord>;
  /** Those of one zvol in any state, oldest first; those that are not taken yet last. */
  ofDataset(host: HostId, dataset: string): Promise<readonly SnapshotRecord[]>;
  /** Raises the revision. Throws not_found. */
  update(id: SnapshotId, change: SnapshotChange): Promise<SnapshotRecord>;
  /** Many in one transaction. Those that are gone are left out. */
  updateAll(changes: ReadonlyMap<SnapshotId, SnapshotChange>): Promise<void>;
  /** Absent is success. */
  remove(ids: readonly SnapshotId[]): Promise<void>;
  /** What each snapshot of any state is called on its host. */
  identities(): AsyncIterable<SnapshotIdentity>;
  /** Of those whose condition is set, by its reason. */
  countByCondition(): Promise<Readonly<Record<string, number>>>;
}

/** Groups. A group and its snapshots come and go together. */
export interface GroupSnapshotStore {
  /** Throws already_exists when the id of the group or of a snapshot is taken; then nothing is recorded. */
  insert(group: GroupSnapshotRecord, snapshots: readonly SnapshotRecord[]): Promise<void>;
  find(id: GroupSnapshotId): Promise<GroupSnapshotRecord | undefined>;
  /** Throws not_found with details {groupSnapshot}. */
  get(id: GroupSnapshotId): Promise<GroupSnapshotRecord>;
  list(request: PageRequest): Promise<Page<GroupSnapshotRecord>>;
  update(id: GroupSnapshotId, change: Partial<Pick<GroupSnapshotRecord, "state" | "createdAt">>): Promise<void>;
  /** With its snapshots. Absent is success. */
  remove(id: GroupSnapshotId): Promise<void>;
}

export interface HostStore {
  /** Throws already_exists. */
  insert(host: HostRecord): Promise<void>;
  find(id: HostId): Promise<HostRecord | undefined>;
  /** Throws not_found with details {host}. */
  get(id: HostId): Promise<HostRecord>;
  list(request: PageRequest): Promise<Page<HostRecord>>;
  all(): Promise<readonly HostRecord[]>;
  update(id: HostId, change: HostChange, revision?: number): Promise<HostRecord>;
  remove(id: HostId): Promise<void>;
}

/** One thing that ran on a host, as an operation shows it. No secrets. */
export interface CommandRecord {
  readonly step: string;
  readonly host: string;
  readonly command: string;
  readonly exitCode: number;
  readonly error: string;
  readonly durationMs: number;
}

export interface OperationRecord extends JournalEntry {
  readonly commands: readonly CommandRecord[];
}

/** The journal, and what the API shows of it. */
export interface OperationStore extends Journal {
  find(id: OperationId): Promise<OperationRecord | undefined>;
  get(id: OperationId): Promise<OperationRecord>;
  /** The newest one on the subject. */
  findLast(subject: string): Promise<OperationRecord | undefined>;
  list(request: PageRequest): Promise<Page<OperationRecord>>;
  /** Keeps what ran, up to 100 entries an operation. Called once when an operation ends or suspends. */
  addCommands(id: OperationId, commands: readonly CommandRecord[]): Promise<void>;
  /** Drops operations that ended before `before`; open ones stay whatever their age. */
  prune(before: Date): Promise<number>;
}

/** Few and small: the caller keeps all of them in memory. */
export interface AgentStore {
  all(): Promise<readonly AgentRecord[]>;
  /** Inserts or replaces. Throws already_exists when another host has the credential. */
  put(agent: AgentRecord): Promise<void>;
  /** Several at once; those that are gone stay gone. */
  seen(times: ReadonlyMap<HostId, Date>): Promise<void>;
}

export interface JoinTokenStore {
  insert(token: JoinTokenRecord): Promise<void>;
  findByHash(sha256: string): Promise<JoinTokenRecord | undefined>;
  list(request: PageRequest): Promise<Page<JoinTokenRecord>>;
  /** Counts a use. False when none is left, or it has expired. */
  claim(id: string, now: Date): Promise<boolean>;
  /** False when there was none. */
  remove(id: string): Promise<boolean>;
  /** Drops those that expired before. */
  prune(before: Date): Promise<void>;
}
