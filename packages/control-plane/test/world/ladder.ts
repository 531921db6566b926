import { parseGroupSnapshotId, parseHostId, parseSnapshotId, parseVolumeId, Secret, type VolumeId } from "@zfsilo/lib";
import { rm } from "node:fs/promises";
import type { VolumeStatus } from "../../src/store/model.ts";
import { requestConnect } from "../../src/volume/connect.ts";
import type { CopyVolumeInput } from "../../src/volume/copy.ts";
import { requestCreate, type CreateVolumeInput } from "../../src/volume/create.ts";
import { requestPublish } from "../../src/volume/export.ts";
import type { GivenKey } from "../../src/volume/keys.ts";
import { requestMount, requestStage } from "../../src/volume/stage.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import { World } from "./world.ts";

export const subject = parseVolumeId("vol_subject");
/** Mounted beside the subject on the same machines all the while: nothing that happens to the subject may touch it. */
export const bystander = parseVolumeId("vol_bystander");
/** Made of the subject's content. */
export const copy = parseVolumeId("vol_copy");
/** Of the subject, the first taken before the second. */
export const first = parseSnapshotId("snap_made_first");
export const second = parseSnapshotId("snap_made_second");
/** Of the subject and the bystander. */
export const group = parseGroupSnapshotId("grp_both");
export const give = parseHostId("hst_give");
export const take = parseHostId("hst_take");
export const tap = parseHostId("hst_tap");

export const volumeKinds = ["ext4", "xfs", "block"] as const;
/** `encrypted`: raw block, with a key that calls give. */
export type VolumeKind = (typeof volumeKinds)[number] | "encrypted";

/** 32 bytes, and what a call keeps of them. */
export const encryptionKey: GivenKey = { hex: new Secret("5a".repeat(32)), hash: "hash of the key" };

export type Rung = VolumeStatus | "absent";
const rungs: readonly Rung[] = ["absent", "initial", "published", "connected", "staged", "mounted"];

export const capacityBytes = 1n << 30n;

export function createInput(id: VolumeId, kind: VolumeKind): CreateVolumeInput {
  const isBlock = kind === "block" || kind === "encrypted";
  const filesystem = isBlock ? undefined : { type: kind, mkfsOptions: {}, mountOptions: ["noatime"] };
  return {
    id,
    displayName: "",
    labels: { team: "storage" },
    hostId: give,
    pool: "",
    parentDataset: "",
    hostLabels: {},
    capacityBytes,
    sparse: true,
    zfsOptions: { compression: "lz4" },
    encryption: kind === "encrypted" ? { algorithm: "aes-256-gcm", keyFile: "", keyHash: encryptionKey.hash } : undefined,
    mode: isBlock ? "block" : "filesystem",
    filesystem,
    authentication: "mutual_chap",
  };
}

export const snapshotInput = (id: typeof first, consistency: "crash" | "filesystem" = "crash") => ({
  id,
  volumeId: subject,
  displayName: "",
  labels: { team: "storage" },
  consistency,
  freezeLimitMs: 10_000,
});

export const groupInput = (consistency: "crash" | "filesystem" = "crash") => ({
  id: group,
  volumeIds: [subject, bystander],
  displayName: "",
  labels: {},
  consistency,
  freezeLimitMs: 10_000,
});

export function copyInput(source: CopyVolumeInput["source"]): CopyVolumeInput {
  return {
    id: copy,
    source,
    displayName: "",
    labels: {},
    hostId: undefined,
    pool: "",
    parentDataset: "",
    capacityBytes: capacityBytes + (512n << 20n),
    sparse: false,
    zfsOptions: { compression: "zstd" },
    mode: undefined,
    fsType: undefined,
    mountOptions: undefined,
    authentication: "chap",
  };
}

export const stagingPathOf = (id: VolumeId): string => `/mnt/${id}-staged`;
export const targetPathOf = (id: VolumeId): string => `/mnt/${id}-target`;

export const stageInput = (id: VolumeId) => ({ hostId: take, stagingPath: stagingPathOf(id), readOnly: false });
export const mountInput = (id: VolumeId) => ({ hostId: take, targetPath: targetPathOf(id), readOnly: false });

/** Brings a volume up to a rung, by the calls that a caller makes. */
export async function climb(requests: RequestDeps, id: VolumeId, kind: VolumeKind, to: Rung): Promise<void> {
  const steps = [
    () => requestCreate(requests, createInput(id, kind), kind === "encrypted" ? encryptionKey : undefined),
    () => requestPublish(requests, id),
    () => requestConnect(requests, id, take, false),
    () => requestStage(requests, id, stageInput(id)),
    () => requestMount(requests, id, mountInput(id)),
  ];
  for (const step of steps.slice(0, rungs.indexOf(to))) await step();
}

export interface Ground {
  readonly kind: VolumeKind;
  readonly rung: Rung;
  /** What else has happened before the test begins. */
  readonly then?: (world: World) => Promise<void>;
}

/** Worlds on one ground, as many as asked for, each a copy of the first. */
export class Worlds implements AsyncDisposable {
  readonly #ground: Ground;
  #original: Promise<string> | undefined;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  async open(): Promise<World> {
    this.#original ??= this.#make();
    return World.open(await this.#original);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#original !== undefined) await rm(await this.#original, { recursive: true, force: true });
  }

  async #make(): Promise<string> {
    const world = await World.open();
    await climb(world.requests, bystander, "ext4", "mounted");
    await climb(world.requests, subject, this.#ground.kind, this.#ground.rung);
    await this.#ground.then?.(world);
    await world.close();
    return world.directory;
  }
}
