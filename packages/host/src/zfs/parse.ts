import { bytes, parseBytes, StorageError, type Bytes } from "@zfsilo/lib";
import { z } from "zod";
import { zfsOptions } from "./options.ts";
import { parsePoolName, type DatasetName, type PoolName } from "./names.ts";

export interface Pool {
  readonly name: PoolName;
  readonly guid: string;
  /** 0 for a pool too broken to tell (`-` in zpool's output). */
  readonly sizeBytes: Bytes;
  readonly allocatedBytes: Bytes;
  readonly freeBytes: Bytes;
  /** ONLINE, DEGRADED, FAULTED, OFFLINE, UNAVAIL, REMOVED or SUSPENDED. */
  readonly health: string;
  readonly readonly: boolean;
}

/** Whose volume this is. Read from properties set on the dataset itself, never from inherited ones. */
export interface Owner {
  readonly volume: string;
  readonly cluster: string;
}

export interface Zvol {
  readonly dataset: DatasetName;
  readonly guid: string;
  readonly sizeBytes: Bytes;
  readonly volblocksizeBytes: Bytes;
  /** 0 on a sparse volume. */
  readonly refreservationBytes: Bytes;
  readonly usedBytes: Bytes;
  readonly referencedBytes: Bytes;
  readonly logicalUsedBytes: Bytes;
  readonly availableBytes: Bytes;
  /** The snapshot this is a clone of. */
  readonly origin?: string;
  readonly createdAt: Date;
  readonly owner?: Owner;
  /** Of a volume that is encrypted. */
  readonly encryption?: ZvolEncryption;
  /** The human name the volume was given, for people who look at the pool. */
  readonly displayName?: string;
  /** `<fstype>:<uuid>` of the filesystem we made on it (I2). */
  readonly formatted?: string;
  /** The newest generation that was written when access to it ended. */
  readonly generation?: number;
  /** The same marks as `owner`, also as `zfs receive` brought them along. */
  readonly claimedBy?: Owner;
  /** Effective values of the options in zfsOptions. */
  readonly properties: Readonly<Record<string, string>>;
}

export interface ZvolEncryption {
  readonly algorithm: string;
  /** The dataset whose key it has: itself, or for a clone that of its origin. */
  readonly root: string;
  /** The key is not loaded: there is no device, and nothing can be read. */
  readonly locked: boolean;
}

export interface DatasetSpace {
  readonly type: string;
  readonly availableBytes: Bytes;
  readonly usedBytes: Bytes;
  readonly referencedBytes: Bytes;
  /** 0 when there is no quota. */
  readonly quotaBytes: Bytes;
  readonly reservationBytes: Bytes;
}

export const poolColumns = "name,guid,size,allocated,free,health,readonly";
export const volumeColumns = [
  ...["type", "guid", "creation", "used", "available", "referenced", "logicalused", "origin"],
  ...["volsize", "volblocksize", "refreservation", "compression", "sync", "logbias", "primarycache", "secondarycache"],
  ...["copies", "dedup", "checksum", "encryption", "keystatus", "encryptionroot", "zfsilo:volume", "zfsilo:cluster", "zfsilo:name", "zfsilo:formatted", "zfsilo:generation"],
].join(",");
export const spaceColumns = "type,available,used,referenced,quota,reservation";

const size = z.string().regex(/^\d+$/).transform(parseBytes);
/** `-` where a number does not apply, e.g. the size of a pool whose devices are gone. */
const sizeOrNone = z.union([z.literal("-").transform(() => bytes(0)), size]);

const poolLine = z.tuple([z.string(), z.string(), sizeOrNone, sizeOrNone, sizeOrNone, z.string(), z.enum(["on", "off", "-"])]);

/** `tank\t13285710240985\t68182605824\t1024\t68182604800\tONLINE\toff` */
export function parsePools(stdout: string): Pool[] {
  return linesOf(stdout).map((line) => {
    const [name, guid, sizeBytes, allocatedBytes, freeBytes, health, readonly] = poolLine.parse(line.split("\t"));
    return { name: parsePoolName(name), guid, sizeBytes, allocatedBytes, freeBytes, health, readonly: readonly === "on" };
  });
}

export interface Property {
  readonly value: string;
  /** `local`, `default`, `inherited from X`, `received`, `temporary` or `-`. */
  readonly source: string;
}
export type PropertiesByDataset = ReadonlyMap<string, Readonly<Record<string, Property>>>;

/** `tank/z1\tvolsize\t67108864\tlocal` */
export function parseProperties(stdout: string): PropertiesByDataset {
  return new Map(eachDataset(stdout));
}

/**
 * Dataset by dataset, as `zfs get` prints them, so that of thousands only one is held in pieces at a time. Checked by hand:
 * a schema for each of 23 lines a volume would take longer than everything else.
 */
export function* eachDataset(stdout: string): Generator<readonly [name: string, Readonly<Record<string, Property>>]> {
  let current: string | undefined;
  let properties: Record<string, Property> = {};
  for (const line of eachLine(stdout)) {
    const [name, property, value, source, ...more] = line.split("\t");
    if (!name || !property || value === undefined || source === undefined || more.length > 0) {
      throw new StorageError("internal", `read a property line: ${JSON.stringify(line.slice(0, 200))} has not four columns`);
    }
    if (name !== current) {
      if (current !== undefined) yield [current, properties];
      current = name;
      properties = {};
    }
    properties[property] = { value, source };
  }
  if (current !== undefined) yield [current, properties];
}

/** Every volume of `zfs get` with volumeColumns. */
export function* eachZvol(stdout: string): Generator<Zvol> {
  for (const [name, properties] of eachDataset(stdout)) yield parseZvol(name as DatasetName, properties);
}

const volumeProperties = z.object({
  guid: z.string().regex(/^\d+$/),
  creation: z.string().regex(/^\d+$/),
  used: size,
  available: size,
  referenced: size,
  logicalused: size,
  origin: z.string(),
  volsize: size,
  volblocksize: size,
  // `none` without -p; 0 with it (ZFS 2.1.11).
  refreservation: z.union([z.literal("none").transform(() => bytes(0)), sizeOrNone]),
});

export function parseZvol(dataset: DatasetName, properties: Readonly<Record<string, Property>>): Zvol {
  const values = Object.fromEntries(Object.entries(properties).map(([name, { value }]) => [name, value]));
  const v = volumeProperties.parse(values);
  const volume = localValue(properties["zfsilo:volume"]);
  const cluster = localValue(properties["zfsilo:cluster"]);
  const displayName = localValue(properties["zfsilo:name"]);
  const formatted = localValue(properties["zfsilo:formatted"]);
  const generation = localValue(properties["zfsilo:generation"]);
  const claim = { volume: ownValue(properties["zfsilo:volume"]), cluster: ownValue(properties["zfsilo:cluster"]) };
  const options = Object.keys(zfsOptions).flatMap((name) => {
    const value = values[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    dataset,
    guid: v.guid,
    sizeBytes: v.volsize,
    volblocksizeBytes: v.volblocksize,
    refreservationBytes: v.refreservation,
    usedBytes: v.used,
    referencedBytes: v.referenced,
    logicalUsedBytes: v.logicalused,
    availableBytes: v.available,
    createdAt: new Date(Number(v.creation) * 1000),
    properties: Object.fromEntries(options),
    ...(v.origin === "-" || v.origin === "" ? {} : { origin: v.origin }),
    ...(volume === undefined || cluster === undefined ? {} : { owner: { volume, cluster } }),
    ...(claim.volume === undefined || claim.cluster === undefined ? {} : { claimedBy: { volume: claim.volume, cluster: claim.cluster } }),
    ...encryptionOf(values),
    ...(generation !== undefined && /^\d{1,15}$/.test(generation) ? { generation: Number(generation) } : {}),
    ...(displayName === undefined ? {} : { displayName }),
    // A volume that was rolled back to before its filesystem was made says so: a user property is not taken away by setting it.
    ...(formatted === undefined || formatted === "none" ? {} : { formatted }),
  };
}

/** `keystatus` is `-` where nothing is encrypted. */
function encryptionOf(values: Readonly<Record<string, string>>): { readonly encryption?: ZvolEncryption } {
  const { encryption = "off", keystatus = "-", encryptionroot = "-" } = values;
  if (keystatus === "-") return {};
  return { encryption: { algorithm: encryption, root: encryptionroot, locked: keystatus !== "available" } };
}

const spaceProperties = z.object({
  type: z.string(),
  available: size,
  used: size,
  referenced: size,
  quota: z.union([z.literal("none").transform(() => bytes(0)), sizeOrNone]),
  reservation: z.union([z.literal("none").transform(() => bytes(0)), sizeOrNone]),
});

export function parseSpace(properties: Readonly<Record<string, Property>>): DatasetSpace {
  const v = spaceProperties.parse(
    Object.fromEntries(Object.entries(properties).map(([name, { value }]) => [name, value])),
  );
  return {
    type: v.type,
    availableBytes: v.available,
    usedBytes: v.used,
    referencedBytes: v.referenced,
    quotaBytes: v.quota,
    reservationBytes: v.reservation,
  };
}

/** Only what was set on this very dataset speaks for it: a child inherits user properties of its parent. */
export function localValue(property: Property | undefined): string | undefined {
  return property?.source === "local" ? property.value : undefined;
}

/** Also what a stream brought along. */
function ownValue(property: Property | undefined): string | undefined {
  return property?.source === "local" || property?.source === "received" ? property.value : undefined;
}

function linesOf(stdout: string): string[] {
  return [...eachLine(stdout)];
}

function* eachLine(stdout: string): Generator<string> {
  for (let start = 0; start < stdout.length; ) {
    const found = stdout.indexOf("\n", start);
    const end = found === -1 ? stdout.length : found;
    if (end > start) yield stdout.slice(start, end);
    start = end + 1;
  }
}
