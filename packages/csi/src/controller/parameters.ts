import { shortened, StorageError } from "@zfsilo/lib";
import { z } from "zod";

const flag = z.enum(["true", "false"]);
const given = z.string().min(1);

/** ZFS properties of a volume; those marked can change while it is in use. */
export const zfsParameters = {
  compression: "mutable",
  volblocksize: "immutable",
  sync: "mutable",
  logbias: "mutable",
  primarycache: "mutable",
  secondarycache: "mutable",
  copies: "mutable",
  dedup: "mutable",
  checksum: "mutable",
} as const;

/** How a filesystem is made. Which of them a type knows, and which values, the control plane says. */
export const mkfsParameters = [
  "block_size",
  "inode_size",
  "bytes_per_inode",
  "inodes",
  "reserved_percent",
  "64bit",
  "metadata_csum",
  "orphan_file",
  "sector_size",
  "bigtime",
  "inobtcount",
  "nrext64",
  "reflink",
] as const;

/** What external-provisioner adds with --extra-create-metadata: kept as labels. */
const metadata = ["csi.storage.k8s.io/pvc/name", "csi.storage.k8s.io/pvc/namespace", "csi.storage.k8s.io/pv/name"] as const;

/** Of a StorageClass. docs/csi.md describes each; a test compares the two. */
export const parameterSchema = z.strictObject({
  host: given.optional(),
  pool: given.optional(),
  transport: z.enum(["iscsi"]).default("iscsi"),
  authentication: z.enum(["chap", "mutual_chap", "none"]).default("chap"),
  sparse: flag.default("false"),
  copyMode: z.enum(["clone", "full"]).default("clone"),
  ...prefixed("zfs", Object.keys(zfsParameters)),
  ...prefixed("mkfs", mkfsParameters),
  ...Object.fromEntries(metadata.map((name) => [name, given.optional()])),
});

/** Of a VolumeAttributesClass. */
export const mutableParameterSchema = z.strictObject(
  prefixed("zfs", Object.entries(zfsParameters).flatMap(([name, how]) => (how === "mutable" ? [name] : []))),
);

/** Of a VolumeSnapshotClass or VolumeGroupSnapshotClass. */
export const snapshotParameterSchema = z.strictObject({
  consistency: z.enum(["crash", "filesystem"]).default("crash"),
  ...Object.fromEntries(
    ["volumesnapshot", "volumesnapshotcontent", "volumegroupsnapshot", "volumegroupsnapshotcontent"].flatMap((kind) =>
      ["name", "namespace"].map((part) => [`csi.storage.k8s.io/${kind}/${part}`, given.optional()]),
    ),
  ),
});

/** Only hosts with these labels: one parameter a label. */
export const hostLabelPrefix = "hostLabel.";

export interface VolumeParameters {
  /** Id of the target host; empty: the control plane chooses. */
  readonly host: string;
  readonly pool: string;
  readonly authentication: "chap" | "mutual_chap" | "none";
  readonly sparse: boolean;
  readonly copyMode: "clone" | "full";
  readonly zfsOptions: Readonly<Record<string, string>>;
  readonly mkfsOptions: Readonly<Record<string, string>>;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

export type Parameters = Readonly<Record<string, string>>;

export function parseParameters(parameters: Parameters, mutable: Parameters): VolumeParameters {
  const hostLabels = withPrefix(parameters, hostLabelPrefix);
  const rest = Object.fromEntries(Object.entries(parameters).filter(([name]) => !name.startsWith(hostLabelPrefix)));
  const checked = check(parameterSchema, rest, "parameters");
  const { host = "", pool = "", authentication, sparse, copyMode } = checked;
  if (host !== "" && Object.keys(hostLabels).length > 0) {
    throw new StorageError("invalid_argument", `parameters: host and ${hostLabelPrefix}* exclude each other`);
  }
  return {
    host: host.replace(/^hosts\//, ""),
    pool,
    authentication,
    sparse: sparse === "true",
    copyMode,
    // The spec has mutable parameters win.
    zfsOptions: { ...withPrefix(rest, "zfs."), ...parseMutableParameters(mutable) },
    mkfsOptions: withPrefix(rest, "mkfs."),
    hostLabels,
    labels: keptAsLabels(rest),
  };
}

/** The ZFS options that mutable parameters ask for. */
export function parseMutableParameters(parameters: Parameters): Readonly<Record<string, string>> {
  check(mutableParameterSchema, parameters, "mutable_parameters");
  return withPrefix(parameters, "zfs.");
}

export interface SnapshotParameters {
  readonly consistency: "crash" | "filesystem";
  readonly labels: Readonly<Record<string, string>>;
}

export function parseSnapshotParameters(parameters: Parameters): SnapshotParameters {
  const { consistency } = check(snapshotParameterSchema, parameters, "parameters");
  return { consistency, labels: keptAsLabels(parameters) };
}

function check<Schema extends z.ZodType>(schema: Schema, parameters: Parameters, field: string): z.infer<Schema> {
  const checked = schema.safeParse(parameters);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) =>
    issue.code === "unrecognized_keys"
      ? `${field}: unknown: ${firstOf(issue.keys.map((key) => shortened(key, maxShownBytes)), ", ")}`
      : `${field}[${JSON.stringify(shortened(issue.path.join("."), maxShownBytes))}]: ${issue.message}`,
  );
  throw new StorageError("invalid_argument", firstOf(problems, "; "), { hint: "docs/csi.md lists the parameters." });
}

/** What a caller wrote is repeated as far as it helps to find it. */
const maxShownBytes = 64;
const maxShown = 5;

function firstOf(all: readonly string[], separator: string): string {
  const more = all.length - maxShown;
  return all.slice(0, maxShown).join(separator) + (more > 0 ? ` and ${more} more` : "");
}

function prefixed(prefix: string, names: readonly string[]): Record<string, z.ZodOptional<z.ZodString>> {
  return Object.fromEntries(names.map((name) => [`${prefix}.${name}`, given.optional()]));
}

function withPrefix(parameters: Parameters, prefix: string): Record<string, string> {
  const entries = Object.entries(parameters).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(prefix.length), value]));
}

function keptAsLabels(parameters: Parameters): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).filter(([name]) => name.startsWith("csi.storage.k8s.io/")));
}
