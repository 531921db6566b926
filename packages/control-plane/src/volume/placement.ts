import { formatBytes, type HostId } from "@zfsilo/lib";
import { creatableBytes, largestVolume, type ParentCapacity, type VolumeShape } from "../machines/capacity.ts";

/** A place that a volume may go to, as far as it could be looked at. */
export interface Candidate {
  readonly hostId: HostId;
  readonly pool: string;
  readonly parentDataset: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly simulated: boolean;
  /** Why the host could not be looked at; undefined when it was. */
  readonly unseen: string | undefined;
  readonly capacity: ParentCapacity | undefined;
  /** On the host as a whole. */
  readonly volumes: number;
}

export interface PlacementAsk {
  readonly capacityBytes: bigint;
  readonly shape: VolumeShape;
  readonly hostLabels: Readonly<Record<string, string>>;
}

export interface Ranked extends Pick<Candidate, "hostId" | "pool" | "parentDataset"> {
  /** Above 0, up to 100; 0 when the volume cannot go there. */
  readonly score: number;
  readonly reasons: readonly string[];
  /** It would do, had it the room. */
  readonly onlyFull: boolean;
}

/** What each fact can add to the score, which is 100 at most. */
const weights = { free: 50, unpromised: 30, quiet: 20 } as const;
/** So many volumes on a host halve what is given for a quiet one. */
const quietVolumes = 50;

/** Pure: every candidate with its score and the reasons for it, best first; equal ones in the order of their names. */
export function rank(ask: PlacementAsk, candidates: readonly Candidate[]): readonly Ranked[] {
  return candidates
    .map((candidate) => judge(ask, candidate))
    .sort((a, b) => b.score - a.score || compare(nameOf(a), nameOf(b)));
}

function judge(ask: PlacementAsk, candidate: Candidate): Ranked {
  const ranked = judgePlace(ask, candidate);
  return candidate.simulated ? { ...ranked, reasons: [...ranked.reasons, "the host is simulated"] } : ranked;
}

function judgePlace(ask: PlacementAsk, candidate: Candidate): Ranked {
  const { hostId, pool, parentDataset, capacity } = candidate;
  const place = { hostId, pool, parentDataset };
  const missing = Object.entries(ask.hostLabels).filter(([key, value]) => candidate.labels[key] !== value);
  if (missing.length > 0) {
    const wanted = missing.map(([key, value]) => `${key}=${value}`).join(", ");
    return { ...place, score: 0, reasons: [`the host has not the labels ${wanted}`], onlyFull: false };
  }
  if (candidate.unseen !== undefined || capacity === undefined) {
    return { ...place, score: 0, reasons: [candidate.unseen ?? "the host could not be read"], onlyFull: false };
  }
  if (capacity.problem !== undefined) return { ...place, score: 0, reasons: [capacity.problem], onlyFull: false };
  const largest = largestVolume(capacity, ask.shape);
  if (ask.capacityBytes > largest) return { ...place, score: 0, reasons: [`no room: ${whyFull(capacity, largest)}`], onlyFull: true };
  return { ...place, ...score(ask, capacity, candidate.volumes), onlyFull: false };
}

function whyFull(capacity: ParentCapacity, largest: bigint): string {
  const size = (value: bigint): string => formatBytes(value);
  const quota = capacity.quotaBytes === 0n ? "" : `, quota ${size(capacity.quotaBytes)}`;
  return (
    `the largest volume would be ${size(largest)} (${size(capacity.availableBytes)} available, ${size(capacity.committedBytes)} promised ` +
    `at an over-commit ratio of ${capacity.overcommitRatio}${quota})`
  );
}

function score(ask: PlacementAsk, capacity: ParentCapacity, volumes: number): Pick<Ranked, "score" | "reasons"> {
  const usable = capacity.availableBytes + capacity.usedBytes;
  // A sparse volume takes nothing at first.
  const taken = ask.shape.sparse ? 0n : ask.capacityBytes;
  const free = share(capacity.availableBytes - taken, usable);
  const unpromised = share(capacity.committableBytes - ask.capacityBytes, creatableBytes(capacity, { ...ask.shape, sparse: true }) + capacity.committedBytes);
  const quiet = quietVolumes / (quietVolumes + volumes);
  const sum = weights.free * free + weights.unpromised * unpromised + weights.quiet * quiet;
  const degraded = capacity.health !== "ONLINE";
  return {
    score: Math.max(0.01, Math.round((degraded ? sum / 2 : sum) * 100) / 100),
    reasons: [
      `${percent(free)} of the space free afterwards`,
      `${percent(unpromised)} of what may be promised left afterwards`,
      `${volumes} volumes on the host`,
      ...(degraded ? [`the pool is ${capacity.health}: half the score`] : []),
    ],
  };
}

function share(part: bigint, whole: bigint): number {
  if (whole <= 0n || part <= 0n) return 0;
  return part >= whole ? 1 : Number((part * 10_000n) / whole) / 10_000;
}

function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

/** For the operation: `hosts/a pool tank (tank/zfsilo): 83.5: 90 % of the space free afterwards, …`. Best first; the first was taken. */
export function placementNotes(ranked: readonly Ranked[]): string[] {
  return ranked.map((one) => `${nameOf(one)}: ${one.score}: ${one.reasons.join(", ")}`);
}

export function nameOf({ hostId, pool, parentDataset }: Pick<Candidate, "hostId" | "pool" | "parentDataset">): string {
  return `hosts/${hostId} pool ${pool} (${parentDataset})`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
