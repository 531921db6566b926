import {
  createLogger,
  newSnapshotHandle,
  newVolumeHandle,
  parseHostId,
  parseOperationId,
  parseSnapshotId,
  parseVolumeId,
} from "@zfsilo/lib";
import type { JournalEntry } from "@zfsilo/try";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SecretKey } from "../secret-key.ts";
import type { AttachmentRecord, HostRecord, SnapshotRecord, VolumeRecord } from "./model.ts";
import { openStores, type Stores } from "./open-stores.ts";

/** For tests: stores over a real file, and records that are right in every field that a test does not care about. */

export const silent = createLogger("silent");

export interface TemporaryStores extends Stores, AsyncDisposable {
  readonly file: string;
  readonly key: SecretKey;
  reopen(): Promise<void>;
}

export async function temporaryStores(): Promise<TemporaryStores> {
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-store-"));
  const file = join(directory, "zfsilo.db");
  const key = new SecretKey(randomBytes(32));
  let stores = await openStores({ file, key, log: silent });
  return {
    file,
    key,
    get volumes() {
      return stores.volumes;
    },
    get hosts() {
      return stores.hosts;
    },
    get agents() {
      return stores.agents;
    },
    get joinTokens() {
      return stores.joinTokens;
    },
    get leftovers() {
      return stores.leftovers;
    },
    get snapshots() {
      return stores.snapshots;
    },
    get groups() {
      return stores.groups;
    },
    get operations() {
      return stores.operations;
    },
    get settings() {
      return stores.settings;
    },
    problem: () => stores.problem(),
    close: () => stores.close(),
    async reopen() {
      await stores.close();
      stores = await openStores({ file, key, log: silent });
    },
    async [Symbol.asyncDispose]() {
      await stores.close();
      await rm(directory, { recursive: true });
    },
  };
}

const createdAt = new Date("2026-01-31T12:00:00.000Z");

export function hostRecord(id: string, over: Partial<HostRecord> = {}): HostRecord {
  return {
    id: parseHostId(id),
    displayName: "",
    labels: {},
    roles: ["target", "initiator"],
    connection: { kind: "simulated" },
    pools: [{ name: "tank", parentDataset: "tank/zfsilo" }],
    portals: [{ address: "127.0.0.1", port: 3260 }],
    initiatorIqn: "",
    allowedRoots: ["/mnt"],
    condition: undefined,
    revision: 1,
    createdAt,
    updatedAt: createdAt,
    ...over,
  };
}

export function volumeRecord(id: string, over: Partial<VolumeRecord> = {}): VolumeRecord {
  const handle = over.handle ?? newVolumeHandle();
  return {
    id: parseVolumeId(id),
    handle,
    displayName: "",
    labels: {},
    hostId: parseHostId("hst_give"),
    pool: "tank",
    dataset: `tank/zfsilo/${handle}`,
    capacityBytes: 1n << 30n,
    sparse: true,
    zfsOptions: {},
    mode: "filesystem",
    filesystem: { type: "ext4", mkfsOptions: {}, mountOptions: ["noatime"], uuid: "6f6f6f6f-0000-4000-8000-000000000000", formatted: false },
    transport: "iscsi",
    authentication: "chap",
    state: "ready",
    requestFingerprint: "f",
    targetName: `iqn.2026-01.io.zfsilo:${handle}`,
    published: false,
    portals: [],
    zvolGuid: "",
    generation: 0,
    source: undefined,
    origin: "",
    condition: undefined,
    revision: 1,
    createdAt,
    updatedAt: createdAt,
    attachments: [],
    ...over,
  };
}

export function snapshotRecord(id: string, over: Partial<SnapshotRecord> = {}): SnapshotRecord {
  return {
    id: parseSnapshotId(id),
    handle: newSnapshotHandle(),
    displayName: "",
    labels: {},
    volumeId: parseVolumeId("vol_a"),
    hostId: parseHostId("hst_give"),
    pool: "tank",
    dataset: "tank/zfsilo/0123456789abcdef",
    consistency: "crash",
    state: "ready",
    capacityBytes: 1n << 30n,
    content: { mode: "block", filesystem: undefined, zfsOptions: {}, volblocksize: "8192" },
    zfsGuid: "1",
    createTxg: "1",
    space: undefined,
    holds: [],
    groupId: "",
    requestFingerprint: "f",
    condition: undefined,
    revision: 1,
    createdAt,
    updatedAt: createdAt,
    ...over,
  };
}

export function attachmentRecord(volume: string, host: string, over: Partial<AttachmentRecord> = {}): AttachmentRecord {
  return {
    volumeId: parseVolumeId(volume),
    hostId: parseHostId(host),
    initiatorIqn: "iqn.2026-01.io.zfsilo:take",
    state: "connecting",
    device: "",
    stagingPath: "",
    readOnly: false,
    targetPaths: [],
    readOnlyPaths: [],
    writeProtected: false,
    chap: undefined,
    generation: 1,
    createdAt,
    ...over,
  };
}

export function journalEntry(id: string, over: Partial<JournalEntry> = {}): JournalEntry {
  return {
    id: parseOperationId(id),
    kind: "volume.create",
    direction: "build-up",
    subject: "volumes/vol_a",
    fingerprint: "f",
    context: {},
    state: "running",
    steps: [{ name: "first", state: "running", startedAt: createdAt }, { name: "second", state: "pending" }],
    createdAt,
    ...over,
  };
}
