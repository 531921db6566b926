import { randomBytes } from "node:crypto";
import { StorageError } from "./errors.ts";

declare const idBrand: unique symbol;
type Branded<Name extends string> = string & { readonly [idBrand]: Name };

export type HostId = Branded<"host">;
export type VolumeId = Branded<"volume">;
export type AttachmentId = Branded<"attachment">;
export type OperationId = Branded<"operation">;
export type SnapshotId = Branded<"snapshot">;
export type GroupSnapshotId = Branded<"groupSnapshot">;

/**
 * What a volume is called on hosts: 16 lower-case hex digits. Dataset leaf, backstore name, target name and SCSI unit
 * serial are all made of it, so no human name ever meets a kernel limit or a mangling rule. Only hex digits, because LIO
 * derives the NAA identifier from the hex digits of the serial and skips the rest
 * (drivers/target/target_core_spc.c, spc_gen_naa_6h_vendor_specific).
 */
export type VolumeHandle = Branded<"handle">;

/** What a snapshot is called on hosts: the part after the @, of the same form. It stays when a clone takes the snapshot over. */
export type SnapshotHandle = Branded<"snapshotHandle">;

/** Ids that callers choose or we make: they are the last segment of a resource name. */
const idPattern = /^[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;
const handlePattern = /^[0-9a-f]{16}$/;
const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

const prefixes = { host: "hst", volume: "vol", attachment: "att", operation: "op", snapshot: "snap", groupSnapshot: "grp" } as const;
type Kind = keyof typeof prefixes;

const words: Readonly<Partial<Record<Kind, string>>> = { groupSnapshot: "group snapshot" };

/** A new random id such as `vol_k3x7m2qd5tzw4hbn` (80 bits). */
export function newId<K extends Kind>(kind: K): Branded<K> {
  const text = Array.from(randomBytes(16), (byte) => alphabet[byte & 31]).join("");
  return `${prefixes[kind]}_${text}` as Branded<K>;
}

export function newVolumeHandle(): VolumeHandle {
  return randomBytes(8).toString("hex") as VolumeHandle;
}

export function parseVolumeHandle(text: string): VolumeHandle {
  if (!handlePattern.test(text)) throw new StorageError("invalid_argument", `"${text}" is not a volume handle`);
  return text as VolumeHandle;
}

export function newSnapshotHandle(): SnapshotHandle {
  return randomBytes(8).toString("hex") as SnapshotHandle;
}

export function parseSnapshotHandle(text: string): SnapshotHandle {
  if (!handlePattern.test(text)) throw new StorageError("invalid_argument", `"${text}" is not a snapshot handle`);
  return text as SnapshotHandle;
}

export const parseHostId = (text: string): HostId => parseId(text, "host");
export const parseVolumeId = (text: string): VolumeId => parseId(text, "volume");
export const parseOperationId = (text: string): OperationId => parseId(text, "operation");
export const parseSnapshotId = (text: string): SnapshotId => parseId(text, "snapshot");
export const parseGroupSnapshotId = (text: string): GroupSnapshotId => parseId(text, "groupSnapshot");
export const parseAttachmentId = (text: string): AttachmentId => parseId(text, "attachment");

function parseId<K extends Kind>(text: string, kind: K): Branded<K> {
  if (!idPattern.test(text)) {
    throw new StorageError("invalid_argument", `"${text.slice(0, 80)}" is not a ${words[kind] ?? kind} id`, {
      hint: "Use 1 to 63 characters: a lower-case letter first, then letters, digits, '_' or '-', ending in a letter or digit.",
    });
  }
  return text as Branded<K>;
}
