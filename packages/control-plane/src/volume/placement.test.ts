import { parseHostId } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import type { ParentCapacity } from "../machines/capacity.ts";
import { placementNotes, rank, type Candidate, type PlacementAsk } from "./placement.ts";

const GiB = 1n << 30n;

function capacity(over: Partial<ParentCapacity> = {}): ParentCapacity {
  const { availableBytes = 100n * GiB, committableBytes = 100n * GiB } = over;
  return {
    pool: "tank",
    parentDataset: "tank/zfsilo",
    exists: true,
    health: "ONLINE",
    problem: undefined,
    sizeBytes: 200n * GiB,
    availableBytes,
    usedBytes: 0n,
    quotaBytes: 0n,
    overcommitRatio: 1,
    volumes: 0,
    committedBytes: 0n,
    committableBytes,
    inPool: { guid: "1", availableBytes, promisableBytes: committableBytes, promisedBytes: 0n },
    layout: { stripes: [], ashift: 12 },
    ...over,
  };
}

function at(host: string, over: Partial<ParentCapacity> = {}, more: Partial<Candidate> = {}): Candidate {
  return {
    hostId: parseHostId(host),
    pool: over.pool ?? "tank",
    parentDataset: over.parentDataset ?? "tank/zfsilo",
    labels: {},
    simulated: false,
    unseen: undefined,
    capacity: capacity(over),
    volumes: 0,
    ...more,
  };
}

const ask = (over: Partial<PlacementAsk> = {}): PlacementAsk => ({
  capacityBytes: 10n * GiB,
  shape: { sparse: true, volblocksize: undefined },
  hostLabels: {},
  ...over,
});
const order = (candidates: readonly Candidate[], asked = ask()): string[] => rank(asked, candidates).map(({ hostId, parentDataset }) => `${hostId} ${parentDataset}`);

describe("placement", () => {
  it.each<[string, Candidate, Candidate]>([
    ["more free space", at("a"), at("b", { availableBytes: 20n * GiB, usedBytes: 80n * GiB })],
    ["less promised", at("a"), at("b", { committableBytes: 20n * GiB, committedBytes: 80n * GiB })],
    ["fewer volumes on the host", at("a", {}, { volumes: 1 }), at("b", {}, { volumes: 200 })],
    ["all its devices", at("a", { availableBytes: 40n * GiB, usedBytes: 60n * GiB }), at("b", { health: "DEGRADED" })],
    ["a name that comes first, all else equal", at("a"), at("b")],
    ["a parent that comes first, all else equal", at("a", { parentDataset: "tank/a" }), at("a", { parentDataset: "tank/b" })],
  ])("prefers %s", (_what, better, worse) => {
    const wanted = [better, worse].map(({ hostId, parentDataset }) => `${hostId} ${parentDataset}`);
    expect(order([worse, better])).toEqual(wanted);
    expect(order([better, worse])).toEqual(wanted);
  });

  it.each<[string, Candidate, PlacementAsk, string, boolean]>([
    ["the labels are others", at("a", {}, { labels: { zone: "b" } }), ask({ hostLabels: { zone: "a", disk: "nvme" } }), "the host has not the labels zone=a, disk=nvme", false],
    ["the host is silent", at("a", {}, { unseen: "the host could not be read: no route", capacity: undefined }), ask(), "the host could not be read: no route", false],
    ["the pool is of no use", at("a", { problem: "the pool is SUSPENDED" }), ask(), "the pool is SUSPENDED", false],
    ["too much is promised", at("a", { committableBytes: 5n * GiB, committedBytes: 95n * GiB }), ask(), "no room: the largest volume would be 5 GiB", true],
    ["it would not fit, thick", at("a", { availableBytes: 10n * GiB }), ask({ shape: { sparse: false, volblocksize: 8192n } }), "no room: the largest volume would be 9.7 GiB", true],
  ])("leaves out where %s", (_what, candidate, asked, reason, onlyFull) => {
    const [only] = rank(asked, [candidate]);
    expect(only).toMatchObject({ score: 0, onlyFull });
    expect(only?.reasons.join()).toContain(reason);
    expect(rank(asked, [candidate, at("z", {}, { labels: { zone: "a", disk: "nvme" } })])[0]).toMatchObject({ hostId: "z" });
  });

  it("takes a host that has more labels than were asked for", () => {
    expect(rank(ask({ hostLabels: { zone: "a" } }), [at("a", {}, { labels: { zone: "a", rack: "7" } })])[0]?.score).toBeGreaterThan(0);
  });

  it("gives each its reasons, and 100 to an empty one at most", () => {
    const ranked = rank(ask({ capacityBytes: 16_384n }), [at("a"), at("b", { health: "DEGRADED" })]);
    expect(ranked[0]).toMatchObject({ score: 100, reasons: ["100 % of the space free afterwards", "100 % of what may be promised left afterwards", "0 volumes on the host"] });
    expect(ranked[1]).toMatchObject({ score: 50 });
    expect(placementNotes(ranked)[1]).toBe(
      "hosts/b pool tank (tank/zfsilo): 50: 100 % of the space free afterwards, 100 % of what may be promised left afterwards, 0 volumes on the host, the pool is DEGRADED: half the score",
    );
  });
});
