import { afterEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
afterEach(() => service[Symbol.asyncDispose]());

const GiB = 1024 ** 3;
const target = (id: string, more: object = {}): object => ({
  id,
  roles: ["target"],
  simulated: {},
  pools: [{ name: "tank" }],
  portals: [{ address: "192.0.2.1" }],
  ...more,
});
const three = { hosts: [target("a"), target("b", { labels: { zone: "b" } }), target("c", { pools: [{ name: "tank" }, { name: "tank", parentDataset: "tank/gold" }] })] };

const made = async (id: string, fields: object = {}, request: object = {}): Promise<Json> =>
  service.call("VolumeService/CreateVolume", { volumeId: id, volume: { capacityBytes: `${GiB}`, sparse: true, ...fields }, ...request });
const placeOf = ({ volume }: Json): string => `${String((volume as Json)["host"])} ${String((volume as Json)["parentDataset"])}`;

describe("placement", () => {
  it("chooses, tells why, and answers a repeated call with the same volume", async () => {
    service = await runningService(three);
    const first = await made("vol_a");
    const candidates = first["placement"] as Json[];
    expect(candidates).toHaveLength(4);
    expect(placeOf(first)).toBe(`${String(candidates[0]?.["host"])} ${String(candidates[0]?.["parentDataset"])}`);
    const { operation } = await service.call("OperationService/GetOperation", { name: first["operation"] });
    expect((operation as Json)["notes"]).toHaveLength(4);
    // What was decided once stands, although the place is no longer the best.
    await made("vol_b", { capacityBytes: `${40 * GiB}`, host: (first["volume"] as Json)["host"], pool: "tank", parentDataset: "tank/zfsilo" });
    const again = await made("vol_a");
    expect(again["volume"]).toEqual({ ...(first["volume"] as Json) });
    expect(again["operation"]).toBeUndefined();
    await expect(made("vol_a", {}, { hostLabels: { zone: "b" } })).rejects.toThrow("already_exists");
  });

  it("goes by labels, pool and parent dataset", async () => {
    service = await runningService(three);
    expect(placeOf(await made("vol_b", {}, { hostLabels: { zone: "b" } }))).toBe("hosts/b tank/zfsilo");
    expect(placeOf(await made("vol_gold", { parentDataset: "tank/gold" }))).toBe("hosts/c tank/gold");
    const on = await made("vol_c", { host: "hosts/c", pool: "tank" });
    expect(on["placement"]).toHaveLength(2);
    const explicit = await made("vol_d", { host: "hosts/c", parentDataset: "tank/zfsilo" });
    expect(explicit["placement"]).toBeUndefined();
    expect(placeOf(explicit)).toBe("hosts/c tank/zfsilo");
  });

  it.each([
    ["failed_precondition", {}, { hostLabels: { zone: "nowhere" } }, "the host has not the labels zone=nowhere"],
    ["resource_exhausted", { capacityBytes: `${65 * GiB}` }, {}, "no room: the largest volume would be"],
    ["resource_exhausted", { capacityBytes: `${65 * GiB}`, sparse: false }, {}, "no room: the largest volume would be"],
    ["not_found", { pool: "none" }, {}, 'volume.pool: no target host has a pool "none"'],
    ["not_found", { host: "hosts/a", pool: "none" }, {}, 'volume.pool: hosts/a has no pool "none"'],
    ["not_found", { host: "hosts/a", parentDataset: "tank/none" }, {}, 'volume.parent_dataset: hosts/a has no parent dataset "tank/none"'],
    ["invalid_argument", { host: "hosts/a" }, { hostLabels: { zone: "b" } }, "host_labels"],
    ["invalid_argument", { parentDataset: "tank/@" }, {}, "volume.parent_dataset"],
  ])("refuses as %s what has no place: %j %j", async (code, fields, request, why) => {
    service = await runningService(three);
    const refused = made("vol_a", fields, request);
    await expect(refused).rejects.toThrow(code);
    await expect(refused).rejects.toThrow(why);
    expect((await service.call("VolumeService/ListVolumes", {}))["volumes"]).toBeUndefined();
  });

  it("leaves simulated hosts to those who name them once there is another target, and calls them simulated", async () => {
    const real = { id: "real", roles: ["target"], ssh: { address: "127.0.0.1", port: 1, knownHostsFile: "/nowhere" }, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.9" }] };
    service = await runningService({ hosts: [target("a"), real] });
    await expect(made("vol_a")).rejects.toThrow(/no pool fits: hosts\/real pool tank \(tank\/zfsilo\): the host could not be read(?!.*hosts\/a)/);
    expect((await service.call("Service/GetCapacity", {}))["pools"]).toMatchObject([{ host: "hosts/real", health: "UNREACHABLE" }]);
    expect((await service.call("Service/GetCapacity", { host: "hosts/a" }))["pools"]).toMatchObject([{ host: "hosts/a", simulated: true }]);
    expect((await service.call("Service/GetServerInfo", {}))["simulatedHosts"]).toEqual(["hosts/a"]);
    expect(placeOf(await made("vol_a", { host: "hosts/a" }))).toBe("hosts/a tank/zfsilo");
    expect((await service.call("VolumeService/GetVolume", { name: "volumes/vol_a" }))["volume"]).toMatchObject({ simulated: true });
    expect((await service.call("VolumeService/ListVolumes", {}))["volumes"]).toMatchObject([{ simulated: true }]);
    const { checks } = await service.call("HostService/CheckHost", { name: "hosts/a" });
    expect((checks as Json[])[0]).toMatchObject({ name: "machine", state: "CHECK_STATE_WARNING", observed: expect.stringContaining("simulated") as string });
  });

  it("tells that a candidate is simulated", async () => {
    service = await runningService(three);
    expect(((await made("vol_a"))["placement"] as Json[]).every(({ reasons }) => (reasons as string[]).includes("the host is simulated"))).toBe(true);
  });

  it("gives each candidate's reason when none fits", async () => {
    service = await runningService(three);
    await service.call("PoolService/ListPools", {});
    service.plane.world.setOnline("a", false);
    service.plane.world.setPoolHealth("b", "tank", "SUSPENDED");
    const refused = made("vol_a", { capacityBytes: `${65 * GiB}` });
    await expect(refused).rejects.toThrow(/hosts\/a pool tank .*could not be read.*|hosts\/b pool tank .*SUSPENDED/);
    await expect(refused).rejects.toThrow("hosts/b pool tank (tank/zfsilo): the pool is SUSPENDED");
    await expect(refused).rejects.toThrow("resource_exhausted");
    expect(placeOf(await made("vol_b"))).toContain("hosts/c");
  });

  const promisedOnce = { pools: [{ name: "tank", overcommitRatio: 1 }] };

  it("does not promise the same space to calls that come at once", async () => {
    service = await runningService({ hosts: [target("a", promisedOnce), target("b", promisedOnce)] });
    const size = { capacityBytes: `${20 * GiB}` };
    const answers = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => made(`vol_${i}`, size)));
    const placed = answers.flatMap((answer) => (answer.status === "fulfilled" ? [placeOf(answer.value)] : []));
    // Three of 20 GiB fit into each pool of 64 GiB.
    expect(placed.filter((place) => place.startsWith("hosts/a"))).toHaveLength(3);
    expect(placed.filter((place) => place.startsWith("hosts/b"))).toHaveLength(3);
    for (const answer of answers) if (answer.status === "rejected") expect(String(answer.reason)).toContain("resource_exhausted");
  });

  it("promises no more than the ratio of a pool that is named, nor lets volumes grow beyond it", async () => {
    service = await runningService({ hosts: [target("a", promisedOnce), target("b", { pools: [{ name: "tank", overcommitRatio: 2 }] })] });
    for (const host of ["hosts/a", "hosts/b"]) await made(`vol_${host.at(-1) ?? ""}`, { host, capacityBytes: `${60 * GiB}` });
    await expect(made("vol_x", { host: "hosts/a", capacityBytes: `${10 * GiB}` })).rejects.toThrow("resource_exhausted");
    await expect(made("vol_x", { host: "hosts/a", capacityBytes: `${10 * GiB}`, sparse: false })).rejects.toThrow("resource_exhausted");
    await made("vol_y", { host: "hosts/b", capacityBytes: `${10 * GiB}` });
    const grow = (id: string, gib: number): Promise<Json> =>
      service.call("VolumeService/UpdateVolume", { volume: { name: `volumes/${id}`, capacityBytes: `${gib * GiB}` }, updateMask: "capacityBytes" });
    await expect(grow("vol_a", 70)).rejects.toThrow("resource_exhausted");
    await grow("vol_a", 61);
    await grow("vol_y", 60);
  });

  it.each([
    ["thick", { sparse: false }, {}],
    ["sparse", { sparse: true }, { overcommitRatio: 1 }],
    ["thick under a quota", { sparse: false }, { quotaBytes: 10 * GiB }],
    ["thick in small blocks", { sparse: false, zfsOptions: { volblocksize: "512" } }, {}],
  ])("fits what GetCapacity answered: %s", async (_what, fields, pool) => {
    service = await runningService({ hosts: [target("a", { pools: [{ name: "tank", ...pool }] })] });
    const ask = { sparse: fields.sparse, ...("zfsOptions" in fields && { volblocksizeBytes: fields.zfsOptions.volblocksize }) };
    await made("vol_first", { ...fields, host: "hosts/a" });
    const { maximumVolumeBytes } = await service.call("Service/GetCapacity", ask);
    expect(Number(maximumVolumeBytes)).toBeGreaterThan(8 * GiB);
    const over = String(BigInt(String(maximumVolumeBytes)) + (2n << 20n));
    await expect(made("vol_over", { ...fields, capacityBytes: over })).rejects.toThrow("resource_exhausted");
    await made("vol_all", { ...fields, capacityBytes: maximumVolumeBytes });
    expect(Number((await service.call("Service/GetCapacity", ask))["maximumVolumeBytes"] ?? 0)).toBeLessThan(3 << 20);
  });
});
