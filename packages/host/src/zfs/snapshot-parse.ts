import { bytes, parseBytes, type Bytes } from "@zfsilo/lib";
import { z } from "zod";
import { eachDataset, localValue, type Property } from "./parse.ts";
import { parseSnapshotName, type SnapshotName } from "./snapshot-name.ts";

/** A snapshot of a volume as `zfs get` shows it. Space by the definitions of zfsprops(7). */
export interface ZfsSnapshot {
  readonly name: SnapshotName;
  readonly guid: string;
  readonly createdAt: Date;
  /** Orders the snapshots of a pool: those taken in one command have the same. */
  readonly createTxg: bigint;
  /** What destroying it alone would free. */
  readonly usedBytes: Bytes;
  readonly referencedBytes: Bytes;
  /** Written between the snapshot before it and this one. */
  readonly writtenBytes: Bytes;
  /** Of the volume at that instant. */
  readonly sizeBytes: Bytes;
  /** How many holds it has. */
  readonly holds: number;
  /** Destroyed with `defer`: it goes with its last clone and its last hold. */
  readonly deferred: boolean;
  /** Datasets that were cloned from it. */
  readonly clones: readonly string[];
  /** `zfsilo:snapshot` set on the snapshot itself. Absent on one that we did not take. */
  readonly owner?: string;
  /** `zfsilo:volume` and `zfsilo:cluster` of the dataset it is on now, which promoting a clone changes. */
  readonly volume?: string;
  readonly cluster?: string;
}

export const snapshotColumns = [
  ...["type", "guid", "creation", "createtxg", "used", "referenced", "written", "volsize", "userrefs", "defer_destroy"],
  ...["clones", "zfsilo:volume", "zfsilo:cluster", "zfsilo:snapshot"],
].join(",");

const number = z.string().regex(/^\d+$/);
const size = number.transform(parseBytes);

const snapshotProperties = z.object({
  guid: number,
  creation: number,
  createtxg: number.transform(BigInt),
  used: size,
  referenced: size,
  written: size,
  // A snapshot of a file system has none.
  volsize: z.union([z.literal("-").transform(() => bytes(0)), size]),
  userrefs: number.transform(Number),
  defer_destroy: z.enum(["on", "off"]),
  clones: z.string(),
});

export function parseSnapshot(name: SnapshotName, properties: Readonly<Record<string, Property>>): ZfsSnapshot {
  const values = Object.fromEntries(Object.entries(properties).map(([property, { value }]) => [property, value]));
  const v = snapshotProperties.parse(values);
  const owner = localValue(properties["zfsilo:snapshot"]);
  const volume = anyValue(properties["zfsilo:volume"]);
  const cluster = anyValue(properties["zfsilo:cluster"]);
  return {
    name,
    guid: v.guid,
    createdAt: new Date(Number(v.creation) * 1000),
    createTxg: v.createtxg,
    usedBytes: v.used,
    referencedBytes: v.referenced,
    writtenBytes: v.written,
    sizeBytes: v.volsize,
    holds: v.userrefs,
    deferred: v.defer_destroy === "on",
    clones: v.clones === "" || v.clones === "-" ? [] : v.clones.split(","),
    ...(owner === undefined ? {} : { owner }),
    ...(volume === undefined ? {} : { volume }),
    ...(cluster === undefined ? {} : { cluster }),
  };
}

/** Every snapshot of a volume in the output of `zfs get` with snapshotColumns; those of file systems are passed over. */
export function* eachSnapshot(stdout: string): Generator<ZfsSnapshot> {
  for (const [name, properties] of eachDataset(stdout)) {
    if (properties["type"]?.value !== "snapshot" || properties["volsize"]?.value === "-") continue;
    yield parseSnapshot(parseSnapshotName(name), properties);
  }
}

function anyValue(property: Property | undefined): string | undefined {
  return property === undefined || property.source === "-" ? undefined : property.value;
}

/** `tank/v1@s1\tbackup\tSat Nov 21 10:15 2026`: the tags by snapshot. */
export function parseHolds(stdout: string): Map<string, string[]> {
  const holds = new Map<string, string[]>();
  for (const line of stdout.split("\n")) {
    if (line === "") continue;
    const [name, tag, when, ...more] = line.split("\t");
    if (!name || !tag || when === undefined || more.length > 0) throw new Error(`not three columns: ${JSON.stringify(line.slice(0, 200))}`);
    holds.set(name, [...(holds.get(name) ?? []), tag]);
  }
  return holds;
}
