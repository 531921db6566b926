import type { Ext4Layout } from "@zfsilo/host";
import type { GroupSnapshotId, HostId, Secret, SnapshotHandle, SnapshotId, VolumeHandle, VolumeId } from "@zfsilo/lib";

/** What the database keeps, in the words of the domain. API messages are made from these, never the other way round. */

export const hostRoles = ["target", "initiator"] as const;
export type HostRole = (typeof hostRoles)[number];

export type Connection =
  | { readonly kind: "local" }
  | { readonly kind: "simulated" }
  /** Through the stream that the host's agent opens (AgentRecord). */
  | { readonly kind: "agent" }
  | {
      readonly kind: "ssh";
      readonly address: string;
      readonly port: number;
      readonly user: string;
      /** Empty: use the ssh agent. */
      readonly privateKeyFile: string;
      readonly knownHostsFile: string;
    };

export interface PoolRef {
  readonly name: string;
  readonly parentDataset: string;
  /** Absent: nobody's business here. 0: none. */
  readonly quotaBytes?: bigint;
  /** Absent: 1. */
  readonly overcommitRatio?: number;
}

export interface PortalRef {
  readonly address: string;
  readonly port: number;
}

export interface ConditionRecord {
  readonly reason: string;
  readonly message: string;
  readonly observedAt: Date;
}

export interface HostRecord {
  readonly id: HostId;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly HostRole[];
  readonly connection: Connection;
  readonly pools: readonly PoolRef[];
  readonly portals: readonly PortalRef[];
  /** Empty: read from the machine when needed. */
  readonly initiatorIqn: string;
  readonly allowedRoots: readonly string[];
  /** Made when a node joined with a token for nodes, and not by a person. */
  readonly fromTemplate?: boolean;
  /** Set while something is wrong. */
  readonly condition: ConditionRecord | undefined;
  readonly revision: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What may open a host's stream. Credentials are known by their SHA-256 alone, 64 hex digits. */
export interface AgentRecord {
  readonly hostId: HostId;
  readonly credential: string;
  /** Offered in a rotation; empty outside of one. Its first use ends the one before. */
  readonly nextCredential: string;
  readonly enrolledAt: Date;
  /** Set: neither credential opens anything any more. */
  readonly revokedAt: Date | undefined;
  readonly lastSeenAt: Date | undefined;
  readonly version: string;
  /** What the machine calls itself. */
  readonly nodeName: string;
  /** A credential in two places, say. Stays until the agent is enrolled anew, rotated or revoked. */
  readonly problem: ConditionRecord | undefined;
}

/** What the hosts that a join token makes start with. */
export type HostTemplate = Pick<HostRecord, "displayName" | "labels" | "roles" | "pools" | "portals" | "initiatorIqn" | "allowedRoots">;

export interface JoinTokenRecord {
  readonly id: string;
  readonly sha256: string;
  /** The host it is for. Empty: for any node whose name matches. */
  readonly hostId: HostId | "";
  readonly template: HostTemplate | undefined;
  /** `*` stands for any run of characters. */
  readonly nodeNamePattern: string;
  /** A node that lost its credential may take its host over again while nobody serves it. */
  readonly replaceOffline: boolean;
  /** 0: any number. */
  readonly maxUses: number;
  readonly uses: number;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

export const volumeStatuses = ["initial", "published", "connected", "staged", "mounted"] as const;
export type VolumeStatus = (typeof volumeStatuses)[number];

export const volumeModes = ["filesystem", "block"] as const;
export type VolumeMode = (typeof volumeModes)[number];

export const authentications = ["chap", "mutual_chap", "none"] as const;
export type AuthenticationMode = (typeof authentications)[number];

export interface FilesystemRecord {
  readonly type: "ext4" | "xfs";
  readonly mkfsOptions: Readonly<Record<string, string>>;
  readonly mountOptions: readonly string[];
  /** Chosen at creation, so that a filesystem found after a crash can be told to be the one we were making. */
  readonly uuid: string;
  /** Once set, never formatted again. */
  readonly formatted: boolean;
  /**
   * mkfs was begun on the blank device. Until `formatted` is set, what is found there may be what it left when it was
   * interrupted, and no data.
   */
  readonly making?: boolean;
  /**
   * Its journal may have something to recover: it was cut off while mounted, or restored from a snapshot of a mounted one.
   * Absent in records of earlier versions, where nothing was known of it.
   */
  readonly unclean?: boolean;
  /** How an ext4 is laid out, which decides how far it can grow. Absent until it was made or looked at, and for xfs. */
  readonly layout?: Ext4Layout;
}

export const copyModes = ["clone", "full"] as const;
export type CopyMode = (typeof copyModes)[number];

/** Where the first content of a volume came from. */
export interface SourceRecord {
  readonly kind: "snapshot" | "volume";
  readonly id: SnapshotId | VolumeId;
  readonly copyMode: CopyMode;
}

/** How a volume is encrypted. Its key is never here. */
export interface EncryptionRecord {
  readonly algorithm: string;
  /** Of the target host. Empty: the key is given with each call that needs it. */
  readonly keyFile: string;
  /** As last seen. */
  readonly locked: boolean;
}

export interface VolumeRecord {
  readonly id: VolumeId;
  readonly handle: VolumeHandle;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostId: HostId;
  readonly pool: string;
  readonly dataset: string;
  readonly capacityBytes: bigint;
  readonly sparse: boolean;
  readonly zfsOptions: Readonly<Record<string, string>>;
  /** Absent: it is not encrypted. */
  readonly encryption?: EncryptionRecord | undefined;
  readonly mode: VolumeMode;
  /** Only for mode filesystem. */
  readonly filesystem: FilesystemRecord | undefined;
  readonly transport: "iscsi";
  readonly authentication: AuthenticationMode;
  /** `creating` rows are evidence for recovery; the API does not show them. Of a `deleting` one only the record is left. */
  readonly state: "creating" | "ready" | "deleting";
  /** Hash of the create request, to tell a repeated call from a different one. */
  readonly requestFingerprint: string;
  readonly targetName: string;
  readonly published: boolean;
  /** Where it is exported; empty unless published. */
  readonly portals: readonly PortalRef[];
  /** ZFS guid of the zvol, decimal; empty until made. */
  readonly zvolGuid: string;
  /** Counts changes of access: connecting, and all that ends it. Exports and zvols carry it (workflow/generation.ts). */
  readonly generation: number;
  readonly source: SourceRecord | undefined;
  /** The snapshot it is a thin clone of, and cannot be without; empty for all others. */
  readonly origin: SnapshotId | "";
  readonly condition: ConditionRecord | undefined;
  readonly revision: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** In order of creation. */
  readonly attachments: readonly AttachmentRecord[];
}

export interface ChapRecord {
  readonly userid: string;
  readonly password: Secret;
  /** What the target proves itself with; only for mutual CHAP. */
  readonly mutual: { readonly userid: string; readonly password: Secret } | undefined;
}

/** `connecting` is evidence for recovery; the API does not show it. */
export const attachmentStates = ["connecting", "connected", "staged", "mounted"] as const;
export type AttachmentState = (typeof attachmentStates)[number];

export interface AttachmentRecord {
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  /** The name it logged in with: detaching never has to ask the machine. */
  readonly initiatorIqn: string;
  readonly state: AttachmentState;
  readonly device: string;
  /** Empty unless staged. */
  readonly stagingPath: string;
  readonly readOnly: boolean;
  readonly targetPaths: readonly string[];
  /** Those of the target paths that are mounted read-only. */
  readonly readOnlyPaths: readonly string[];
  /** Encrypted at rest. */
  readonly chap: ChapRecord | undefined;
  readonly generation: number;
  readonly createdAt: Date;
  /** The target refuses its writes. */
  readonly writeProtected: boolean;
}

/**
 * An initiator was forced off a volume: its session, mounts and node record under the target name are ours to remove once it
 * answers, also when the volume is gone by then.
 */
export interface LeftoverRecord {
  readonly hostId: HostId;
  readonly targetName: string;
  readonly volumeId: VolumeId;
  readonly createdAt: Date;
}

/** What a snapshot promises about the data in it. */
export const consistencies = ["crash", "filesystem"] as const;
export type Consistency = (typeof consistencies)[number];

/**
 * `creating` rows are evidence for recovery; the API does not show them. `tombstoned`: kept by ZFS for its clones, and gone with
 * the last of them.
 */
export const snapshotStates = ["creating", "ready", "tombstoned"] as const;
export type SnapshotState = (typeof snapshotStates)[number];

/** What a volume made of a snapshot inherits: as it was at that instant, whatever has become of the volume since. */
export interface SnapshotContent {
  readonly mode: VolumeMode;
  readonly filesystem: FilesystemRecord | undefined;
  readonly zfsOptions: Readonly<Record<string, string>>;
  /** Bytes; a copy has the same. Empty until taken. */
  readonly volblocksize: string;
}

export interface SnapshotSpaceRecord {
  readonly usedBytes: bigint;
  readonly referencedBytes: bigint;
  readonly writtenBytes: bigint;
  readonly observedAt: Date;
}

export interface SnapshotRecord {
  readonly id: SnapshotId;
  readonly handle: SnapshotHandle;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whose content. That volume may be gone: then a clone holds its snapshots. */
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  readonly pool: string;
  /** The zvol that holds it now: that of its volume, or of the clone that took it over. */
  readonly dataset: string;
  readonly consistency: Consistency;
  readonly state: SnapshotState;
  /** What the volume had at that instant. */
  readonly capacityBytes: bigint;
  readonly content: SnapshotContent;
  /** ZFS guid, decimal; empty until taken. */
  readonly zfsGuid: string;
  /** ZFS createtxg, decimal: tells the order of snapshots of one zvol. Empty until taken. */
  readonly createTxg: string;
  readonly space: SnapshotSpaceRecord | undefined;
  /** Tags, in the order of the alphabet. */
  readonly holds: readonly string[];
  readonly groupId: GroupSnapshotId | "";
  /** Hash of the create request, to tell a repeated call from a different one. */
  readonly requestFingerprint: string;
  readonly condition: ConditionRecord | undefined;
  readonly revision: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface GroupSnapshotRecord {
  readonly id: GroupSnapshotId;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly consistency: Consistency;
  readonly hostId: HostId;
  readonly volumeIds: readonly VolumeId[];
  /** In the order of `volumeIds`. */
  readonly snapshotIds: readonly SnapshotId[];
  readonly state: "creating" | "ready";
  readonly requestFingerprint: string;
  readonly createdAt: Date;
}

/** Where a volume stands on the ladder, from its export and its attachments. */
export function statusOf(volume: Pick<VolumeRecord, "published" | "attachments">): VolumeStatus {
  const states = new Set(volume.attachments.map(({ state }) => state));
  if (states.has("mounted")) return "mounted";
  if (states.has("staged")) return "staged";
  if (states.has("connected")) return "connected";
  return volume.published ? "published" : "initial";
}
