import type { Zvol } from "@zfsilo/host";
import { formatBytes } from "@zfsilo/lib";
import type { TargetView } from "./observation.ts";

/** A pool with less than this share of its size left has little time, and ZFS becomes slow on it. */
const shortShare = 10n;

/**
 * Pure: pools whose sparse volumes were promised more than is left, when that is less than a tenth of the pool; what a person reads
 * of each. Told while there is time to add devices: once it is full, every write to a sparse volume fails.
 */
export function shortPools({ pools, poolBytes }: Pick<TargetView, "pools" | "poolBytes">): string[] {
  return [...pools].flatMap(([name, view]) => {
    if (typeof view !== "object") return [];
    const sparse = [...view.values()].filter(({ refreservationBytes }) => refreservationBytes === 0n);
    // Nothing is reserved for them, so that each could take all that is left under its parent.
    const left = sparse.reduce((most, { availableBytes }) => (availableBytes > most ? availableBytes : most), 0n);
    const promised = sparse.reduce((sum, zvol) => sum + unwritten(zvol), 0n);
    if (left * shortShare >= (poolBytes.get(name) ?? 0n) || promised <= left) return [];
    return [`${name} has ${formatBytes(left)} left, and its sparse volumes may still write ${formatBytes(promised)}`];
  });
}

function unwritten({ sizeBytes, referencedBytes }: Zvol): bigint {
  return sizeBytes > referencedBytes ? sizeBytes - referencedBytes : 0n;
}
