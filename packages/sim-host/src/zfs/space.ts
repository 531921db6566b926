import { KernelError } from "../failure.ts";
import type { DatasetDoc, Model, SpaceDoc } from "../model.ts";

/**
 * Space, as zfsprops(7) defines it: used = usedbydataset + usedbysnapshots + usedbyrefreservation + usedbychildren.
 * Each dataset keeps its own sums and tells its parent the difference, so a change costs its depth and nothing else.
 * A pool's available space is its size less what its root dataset uses: neither slop space nor metadata is modelled,
 * but for the allowance inside a thick volume's refreservation.
 */
export interface Usage {
  readonly dataset: bigint;
  readonly snapshots: bigint;
  readonly refreservation: bigint;
  readonly children: bigint;
  readonly total: bigint;
}

export const emptySpace = (referenced: bigint): SpaceDoc => ({
  referenced: referenced.toString(),
  inherited: "0",
  unique: referenced.toString(),
  snapshots: "0",
  children: "0",
});

export function usage(dataset: DatasetDoc, children = BigInt(dataset.space.children)): Usage {
  const own = BigInt(dataset.space.referenced);
  const snapshots = BigInt(dataset.space.snapshots);
  // What has been written since the newest snapshot fills the reservation; older data lies beside it.
  const refreservation = atLeastZero(property(dataset, "refreservation") - BigInt(dataset.space.unique));
  const sum = own + snapshots + refreservation + children;
  const reservation = property(dataset, "reservation");
  return { dataset: own, snapshots, refreservation, children, total: sum > reservation ? sum : reservation };
}

/** Bytes that can still be written to a dataset, its own unfilled refreservation included. */
export function available(model: Model, key: string): bigint {
  const dataset = model.datasets.get(key);
  if (dataset === undefined) return 0n;
  const limits = [quotaLeft(dataset), poolLeft(model, key)];
  for (const ancestor of ancestors(key)) limits.push(quotaLeft(model.datasets.get(ancestor)));
  const least = limits.reduce((a, b) => (b < a ? b : a));
  return atLeastZero(least) + usage(dataset).refreservation;
}

/** Changes a dataset's sums or reservations; ENOSPC, with nothing changed, if the pool or a quota cannot hold the result. */
export function adjustSpace(model: Model, key: string, change: (dataset: DatasetDoc) => void): void {
  const dataset = model.datasets.edit(key);
  if (dataset === undefined) throw new KernelError("ENOENT", key);
  const changed = structuredClone(dataset);
  change(changed);
  const grown = usage(changed).total - usage(dataset).total;
  if (grown > 0n && grown > quotaLeft(dataset)) throw new KernelError("ENOSPC", key);
  // A pool's root dataset has no ancestor to ask.
  if (grown > poolLeft(model, key) && key === poolOf(key)) throw new KernelError("ENOSPC", key);
  propagate(model, key, grown);
  allocate(model, key, allocated(changed) - allocated(dataset));
  Object.assign(dataset, changed);
}

/** Counts a new dataset in (ENOSPC if it does not fit), or with `sign` -1n an old one out. */
export function countDataset(model: Model, key: string, dataset: DatasetDoc, sign: 1n | -1n): void {
  propagate(model, key, sign * usage(dataset).total);
  allocate(model, key, sign * allocated(dataset));
}

/** Adds `growth` to what every ancestor's children use, or throws ENOSPC before anything has changed. */
function propagate(model: Model, key: string, growth: bigint): void {
  if (growth === 0n) return;
  const sums: [ancestor: string, children: bigint][] = [];
  let step = growth;
  for (const ancestor of ancestors(key)) {
    const dataset = model.datasets.get(ancestor);
    if (dataset === undefined) throw new KernelError("ENOENT", ancestor);
    const children = BigInt(dataset.space.children) + step;
    // A parent's own reservation may already hold room for this.
    step = usage(dataset, children).total - usage(dataset).total;
    if (step > 0n && step > quotaLeft(dataset)) throw new KernelError("ENOSPC", ancestor);
    sums.push([ancestor, children]);
  }
  if (step > 0n && step > poolLeft(model, key)) throw new KernelError("ENOSPC", poolOf(key));
  for (const [ancestor, children] of sums) {
    const dataset = model.datasets.edit(ancestor);
    if (dataset !== undefined) dataset.space.children = children.toString();
  }
}

function allocate(model: Model, key: string, bytes: bigint): void {
  if (bytes === 0n) return;
  const pool = model.pools.edit(poolOf(key));
  if (pool !== undefined) pool.allocated = (BigInt(pool.allocated) + bytes).toString();
}

function allocated(dataset: DatasetDoc): bigint {
  return BigInt(dataset.space.referenced) + BigInt(dataset.space.snapshots);
}

/** Keys are `machine/pool/...`: the parent first, the pool's root dataset last. */
function* ancestors(key: string): Generator<string> {
  const parts = key.split("/");
  for (let length = parts.length - 1; length >= 2; length -= 1) yield parts.slice(0, length).join("/");
}

function poolOf(key: string): string {
  return key.split("/").slice(0, 2).join("/");
}

function poolLeft(model: Model, key: string): bigint {
  const pool = model.pools.get(poolOf(key));
  const root = model.datasets.get(poolOf(key));
  return pool === undefined || root === undefined ? 0n : BigInt(pool.size) - usage(root).total;
}

function quotaLeft(dataset: DatasetDoc | undefined): bigint {
  const quota = dataset === undefined ? 0n : property(dataset, "quota");
  return dataset === undefined || quota === 0n ? 2n ** 63n : quota - usage(dataset).total;
}

function property(dataset: DatasetDoc, name: "refreservation" | "reservation" | "quota"): bigint {
  return BigInt(dataset.props[name] ?? "0");
}

function atLeastZero(value: bigint): bigint {
  return value < 0n ? 0n : value;
}
