import { parsePoolName, type DatasetSpace } from "@zfsilo/host";
import { bytes, parseHostId } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import type { PoolRef } from "../store/model.ts";
import type { Commitment } from "../store/stores.ts";
import { creatableBytes, creatableInAll, largestVolume, parentCapacities, type ParentCapacity, type Underway } from "./capacity.ts";
import type { PoolLook } from "./pool-probe.ts";

const GiB = 1n << 30n;
const MiB = 1n << 20n;
const hostId = parseHostId("hst_give");

const space = (availableBytes: bigint, usedBytes: bigint, quotaBytes = 0n): DatasetSpace => ({
  type: "filesystem",
  availableBytes: bytes(availableBytes),
  usedBytes: bytes(usedBytes),
  referencedBytes: bytes(0),
  quotaBytes: bytes(quotaBytes),
  reservationBytes: bytes(0),
});

function pool(spaces: Readonly<Record<string, DatasetSpace>>, over: { health?: string; readonly?: boolean; missing?: boolean } = {}): PoolLook {
  const { health = "ONLINE", readonly = false } = over;
  const facts = {
    name: parsePoolName("tank"),
    guid: "1",
    sizeBytes: bytes(200n * GiB),
    allocatedBytes: bytes(0),
    freeBytes: bytes(0),
    fragmentationPercent: 0,
    health,
    readonly,
    ashift: 12,
  };
  return { name: "tank", facts: over.missing === true ? undefined : facts, layout: { stripes: [], ashift: 12 }, spaces: new Map(Object.entries(spaces)) };
}

const ref = (over: Partial<PoolRef> = {}): PoolRef => ({ name: "tank", parentDataset: "tank/zfsilo", overcommitRatio: 1, ...over });
const promised = (capacity: bigint, parent = "tank/zfsilo", volumes = 1): Commitment => ({ hostId, parent, volumes, bytes: capacity });

function only(pools: readonly PoolRef[], look: PoolLook, commitments: readonly Commitment[] = [], underway: readonly Underway[] = []): ParentCapacity {
  const [first, ...more] = parentCapacities({ id: hostId, pools }, [look], commitments, underway);
  if (first === undefined || more.length > 0) throw new Error("one parent was expected");
  return first;
}

const thick = { sparse: false, volblocksize: 8192n } as const;
const sparse = { sparse: true, volblocksize: undefined } as const;

describe("space under a parent dataset", () => {
  it("is its pool's until it is made", () => {
    const parent = only([ref()], pool({ tank: space(100n * GiB, 1n * GiB) }));
    expect(parent).toMatchObject({ exists: false, availableBytes: 100n * GiB, usedBytes: 0n, committableBytes: 100n * GiB, volumes: 0 });
  });

  it.each([
    ["nothing promised", {}, 0n, 100n * GiB],
    ["some promised", {}, 30n * GiB, 70n * GiB],
    ["all promised", {}, 100n * GiB, 0n],
    ["more promised than there is", {}, 300n * GiB, 0n],
    ["a ratio of 2.5", { overcommitRatio: 2.5 }, 100n * GiB, 150n * GiB],
    ["a ratio below 1", { overcommitRatio: 0.5 }, 30n * GiB, 20n * GiB],
  ])("with %s leaves to be promised what it should", (_what, over, committed, committable) => {
    const look = pool({ tank: space(90n * GiB, 10n * GiB), "tank/zfsilo": space(90n * GiB, 10n * GiB) });
    const parent = only([ref(over)], look, committed === 0n ? [] : [promised(committed)]);
    expect(parent).toMatchObject({ committedBytes: committed, committableBytes: committable });
    expect(creatableBytes(parent, sparse)).toBe(committable);
  });

  it.each([
    ["none", undefined, 0n, 90n * GiB, 0n],
    ["that of ZFS", undefined, 50n * GiB, 40n * GiB, 50n * GiB],
    ["that of the record, before ZFS has it", 40n * GiB, 0n, 30n * GiB, 40n * GiB],
    ["the lower one", 40n * GiB, 50n * GiB, 30n * GiB, 40n * GiB],
    ["one below what is in use", 5n * GiB, 0n, 0n, 5n * GiB],
    ["none said, although ZFS has one", 0n, 50n * GiB, 40n * GiB, 50n * GiB],
  ])("under a quota (%s) is what the quota leaves", (_what, recorded, actual, available, shown) => {
    const left = actual === 0n ? 90n * GiB : actual - 10n * GiB;
    const look = pool({ tank: space(90n * GiB, 10n * GiB), "tank/zfsilo": space(left, 10n * GiB, actual) });
    const parent = only([ref(recorded === undefined ? {} : { quotaBytes: recorded })], look);
    expect(parent).toMatchObject({ availableBytes: available, quotaBytes: shown });
  });

  it("is shared by the parents of a pool", () => {
    const look = pool({ tank: space(80n * GiB, 20n * GiB), "tank/a": space(80n * GiB, 10n * GiB), "tank/b": space(80n * GiB, 10n * GiB) });
    const refs = [ref({ parentDataset: "tank/a" }), ref({ parentDataset: "tank/b", overcommitRatio: 2 })];
    const commitments = [promised(10n * GiB, "tank/a"), promised(150n * GiB, "tank/b"), promised(20n * GiB, "tank/former")];
    const parents = parentCapacities({ id: hostId, pools: refs }, [look], commitments);
    // tank/a by itself: 90 - 10. tank/b by itself: 2 * 90 - 150. The pool: 2 * 100 - 180.
    expect(parents.map(({ committableBytes }) => committableBytes)).toEqual([20n * GiB, 20n * GiB]);
    expect(creatableInAll([parents], sparse)).toBe(20n * GiB);
    expect(creatableInAll([parentCapacities({ id: hostId, pools: refs }, [look], [])], thick)).toBe(80n * GiB);
  });

  it("is shared by the hosts of a pool, which count it once", () => {
    const look = pool({ tank: space(100n * GiB, 0n) });
    const other = parseHostId("hst_again");
    const commitments = [promised(30n * GiB), { ...promised(20n * GiB), hostId: other }];
    const hosts = [hostId, other].map((id) => parentCapacities({ id, pools: [ref()] }, [look], commitments));
    expect(creatableInAll(hosts, sparse)).toBe(50n * GiB);
    expect(creatableInAll(hosts, thick)).toBe(50n * GiB);
    const own = { ...look, facts: { ...look.facts!, guid: "2" } };
    const apart = [hosts[0]!, parentCapacities({ id: other, pools: [ref()] }, [own], commitments)];
    expect(creatableInAll(apart, sparse)).toBe(150n * GiB);
  });

  it("is promised ten times over to sparse volumes where nobody said otherwise, and once to thick ones", () => {
    const { overcommitRatio: _said, ...unsaid } = ref();
    const parent = only([unsaid], pool({ tank: space(10n * GiB, 0n) }), [promised(90n * GiB)]);
    expect(parent).toMatchObject({ overcommitRatio: 10, committableBytes: 10n * GiB });
    expect(creatableBytes(parent, sparse)).toBe(10n * GiB);
    const fresh = only([unsaid], pool({ tank: space(10n * GiB, 0n) }));
    expect(creatableBytes(fresh, sparse)).toBe(100n * GiB);
    expect(creatableBytes(fresh, thick)).toBe(10n * GiB);
  });

  it("counts what is being made and shows nowhere yet", () => {
    const look = pool({ tank: space(90n * GiB, 10n * GiB), "tank/zfsilo": space(90n * GiB, 10n * GiB) });
    const begun: Underway[] = [
      { parent: "tank/zfsilo", capacityBytes: 20n * GiB, sparse: false },
      { parent: "tank/zfsilo", capacityBytes: 30n * GiB, sparse: true },
    ];
    expect(only([ref()], look, [promised(10n * GiB)], begun)).toMatchObject({ availableBytes: 70n * GiB, committableBytes: 40n * GiB, volumes: 3 });
  });

  it.each([
    [{ missing: true }, "NOT_IMPORTED", "the pool is not imported"],
    [{ health: "SUSPENDED" }, "SUSPENDED", "the pool is SUSPENDED"],
    [{ health: "FAULTED" }, "FAULTED", "the pool is FAULTED"],
    [{ readonly: true }, "ONLINE", "the pool is imported read-only"],
  ])("is of no use where %j", (over, health, problem) => {
    const parent = only([ref()], pool({ tank: space(90n * GiB, 0n) }, over));
    expect(parent).toMatchObject({ health, problem });
    expect(creatableBytes(parent, sparse)).toBe(0n);
    expect(largestVolume(parent, thick)).toBe(0n);
  });
});

describe("the largest volume", () => {
  const look = pool({ tank: space(100n * GiB, 0n) });

  it("leaves room for what ZFS reserves beyond the size, and for the pool itself", () => {
    const largest = largestVolume(only([ref()], look), thick);
    expect(largest).toBeLessThan(100n * GiB - MiB);
    expect(largest).toBeGreaterThan(95n * GiB);
    expect(largest % 8192n).toBe(0n);
  });

  it("is no more than what may be promised", () => {
    expect(largestVolume(only([ref()], look, [promised(60n * GiB)]), thick)).toBe(40n * GiB);
    expect(largestVolume(only([ref()], look, [promised(60n * GiB)]), sparse)).toBe(40n * GiB);
  });

  it("is, sparse, no more than the pool", () => {
    expect(largestVolume(only([ref({ overcommitRatio: 10 })], look), sparse)).toBe(200n * GiB);
  });
});
