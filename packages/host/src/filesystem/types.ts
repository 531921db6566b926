import { assertNever, invalidField, type Bytes } from "@zfsilo/lib";
import type { Ext4Layout } from "./ext4-layout.ts";

export const fsTypes = ["ext4", "xfs"] as const;
export type FsType = (typeof fsTypes)[number];

export function parseFsType(text: string, field = "fs_type"): FsType {
  const type = fsTypes.find((known) => known === text);
  if (type === undefined) throw invalidField(field, `is not one of ${fsTypes.join(", ")}`);
  return type;
}

/** What a probe found on a device. */
export type Probe =
  | { readonly kind: "blank" }
  | { readonly kind: "filesystem"; readonly type: string; readonly uuid: string; readonly label?: string }
  /** Not blank, and nothing that blkid knows: also what an interrupted mkfs.ext4 leaves. */
  | { readonly kind: "data" }
  | { readonly kind: "other"; readonly description: string };

/** Whether a device holds this filesystem and no other. */
export function isFilesystem(found: Probe, type: FsType, uuid: string): boolean {
  return found.kind === "filesystem" && found.type === type && found.uuid === uuid;
}

/** What a probe found, for errors. */
export function describeProbe(found: Probe): string {
  switch (found.kind) {
    case "filesystem":
      return `${found.type} ${found.uuid}`;
    case "data":
      return "data without a known signature";
    case "other":
      return found.description;
    case "blank":
      return "nothing";
    default:
      return assertNever(found);
  }
}

/** How far a filesystem reaches, which is at most the end of its device. */
export interface FsExtent {
  readonly sizeBytes: Bytes;
  /** What decides how far it can grow. xfs has no limit that a volume reaches. */
  readonly ext4?: Ext4Layout;
}

/** `stat -f` of a mounted filesystem. */
export interface FsStats {
  readonly totalBytes: bigint;
  readonly freeBytes: bigint;
  /** Free for those who are not root. */
  readonly availableBytes: bigint;
  readonly totalInodes: bigint;
  readonly freeInodes: bigint;
}

export interface CheckResult {
  readonly state: "clean" | "repaired" | "needs_mount" | "damaged";
  readonly output: string;
}
