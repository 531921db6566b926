import { invalidField } from "@zfsilo/lib";
import { maxNameLength, parseDatasetName, poolOf, type DatasetName, type PoolName } from "./names.ts";

declare const brand: unique symbol;

/** The name of a snapshot, its dataset first: `tank/zfsilo/0123456789abcdef@89abcdef01234567`. */
export type SnapshotName = string & { readonly [brand]: "snapshot" };

/** As for a component of a dataset's name (zfs(8)); a space would be allowed there too. */
const handlePattern = /^[A-Za-z0-9_.:][A-Za-z0-9_.:-]*$/;

/** Checks the naming rules of zfs(8). The error names `field`. */
export function parseSnapshotName(text: string, field = "snapshot"): SnapshotName {
  const [dataset = "", handle, ...more] = text.split("@");
  if (handle === undefined) throw invalidField(field, "has no '@'");
  if (more.length > 0) throw invalidField(field, "has more than one '@'");
  return snapshotOf(parseDatasetName(dataset, field), handle, field);
}

/** The snapshot of a dataset that is called `handle` there. */
export function snapshotOf(dataset: DatasetName, handle: string, field = "snapshot"): SnapshotName {
  if (handle === "") throw invalidField(field, "has nothing after the '@'");
  if (!handlePattern.test(handle)) {
    throw invalidField(field, "begins with '-' after the '@', or uses a character other than letters, digits, '_', '-', '.', ':'");
  }
  const name = `${dataset}@${handle}`;
  // Both parts together have to fit (ZFS_MAX_DATASET_NAME_LEN).
  if (name.length > maxNameLength) throw invalidField(field, `longer than ${maxNameLength} characters with its dataset`);
  return name as SnapshotName;
}

/** Whose snapshot it is. */
export function datasetOf(snapshot: SnapshotName): DatasetName {
  return snapshot.slice(0, snapshot.indexOf("@")) as DatasetName;
}

/** What follows the `@`. */
export function handleOf(snapshot: SnapshotName): string {
  return snapshot.slice(snapshot.indexOf("@") + 1);
}

export function poolOfSnapshot(snapshot: SnapshotName): PoolName {
  return poolOf(datasetOf(snapshot));
}

/** Why a snapshot is kept, as `zfs hold` knows it. */
export type HoldTag = string & { readonly [brand]: "hold" };

/**
 * zfs hold would take a leading `-` for an option and refuses a leading `.`, which is its own. It allows 255 characters
 * (MAXNAMELEN); we stay at 100.
 */
export function parseHoldTag(text: string, field = "tag"): HoldTag {
  if (!/^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,99}$/.test(text)) {
    throw invalidField(field, "is not 1 to 100 letters, digits, '_', '-', '.' or ':', beginning with none of '-' and '.'");
  }
  return text as HoldTag;
}
