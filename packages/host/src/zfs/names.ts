import { invalidField } from "@zfsilo/lib";

declare const nameBrand: unique symbol;

/** The name of a file system or volume, pool first: `tank/zfsilo/0123456789abcdef`. Never of a snapshot or bookmark. */
export type DatasetName = string & { readonly [nameBrand]: "dataset" };
export type PoolName = string & { readonly [nameBrand]: "pool" };

/** ZFS_MAX_DATASET_NAME_LEN is 256 with the terminating NUL (include/sys/fs/zfs.h, ZFS 2.1). */
export const maxNameLength = 255;
/** zfs(8) also allows a space, which udev rewrites in the /dev/zvol link: refused. */
const component = /^[A-Za-z0-9_.:-]+$/;
/** Words that zpool(8) reserves, or that begin a vdev specification. */
const reservedPool = /^(?:mirror|raidz|draid|spare|log)/;

/** Checks the naming rules of zfs(8) and zpool(8). The error names `field`. */
export function parseDatasetName(text: string, field = "dataset"): DatasetName {
  if (text.length > maxNameLength) throw invalidField(field, `longer than ${maxNameLength} characters`);
  if (text.includes("@") || text.includes("#")) throw invalidField(field, "a snapshot or bookmark is not expected here");
  const [pool, ...rest] = text.split("/");
  checkPool(pool ?? "", field);
  for (const part of rest) {
    if (part === "") throw invalidField(field, "has an empty component");
    if (part === "." || part === "..") throw invalidField(field, `has the component "${part}"`);
    if (part.startsWith("-")) throw invalidField(field, "a component begins with '-'");
    if (!component.test(part)) throw invalidField(field, "uses a character other than letters, digits, '_', '-', '.', ':'");
  }
  return text as DatasetName;
}

export function parsePoolName(text: string, field = "pool"): PoolName {
  if (text.length > maxNameLength) throw invalidField(field, `longer than ${maxNameLength} characters`);
  checkPool(text, field);
  return text as PoolName;
}

/** The link that udev makes for a volume. It finds the volume again after a reboot, when zd numbers have moved. */
export function zvolPath(dataset: string): string {
  return `/dev/zvol/${dataset}`;
}

export function poolOf(dataset: DatasetName): PoolName {
  return dataset.split("/", 1)[0] as PoolName;
}

/** The dataset that holds this one; undefined for the pool's root. */
export function parentOf(dataset: DatasetName): DatasetName | undefined {
  const slash = dataset.lastIndexOf("/");
  return slash === -1 ? undefined : (dataset.slice(0, slash) as DatasetName);
}

export function childOf(parent: DatasetName, leaf: string): DatasetName {
  return parseDatasetName(`${parent}/${leaf}`);
}

function checkPool(text: string, field: string): void {
  if (!/^[A-Za-z]/.test(text)) throw invalidField(field, "the pool name does not begin with a letter");
  if (!component.test(text)) {
    throw invalidField(field, "the pool name uses a character other than letters, digits, '_', '-', '.', ':'");
  }
  if (reservedPool.test(text)) throw invalidField(field, "the pool name begins with a word that zpool reserves");
}
