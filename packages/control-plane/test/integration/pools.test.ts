import { afterEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
afterEach(() => service[Symbol.asyncDispose]());

const GiB = 1024 ** 3;
const give = (pools: readonly object[]): object => ({ id: "give", roles: ["target"], simulated: {}, pools, portals: [{ address: "192.0.2.1" }] });

async function poolNamed(name: string): Promise<Json> {
  return (await service.call("PoolService/GetPool", { name }))["pool"] as Json;
}

describe("pools", () => {
  it("show their devices, their space, and what is promised in them", async () => {
    service = await runningService();
    const before = await poolNamed("hosts/give/pools/tank");
    expect(before).toMatchObject({ health: "ONLINE", sizeBytes: `${64 * GiB}`, vdev: { name: "tank", state: "ONLINE", children: [{ name: "vdb" }] } });
    expect(before["condition"]).toBeUndefined();
    expect(before["parentDatasets"]).toMatchObject([{ dataset: "tank/zfsilo", overcommitRatio: 10 }]);
    await service.volume("vol_a", "initial", { capacityBytes: `${GiB}` });
    await service.volume("vol_b", "initial", { capacityBytes: `${2 * GiB}`, sparse: false });
    const [parent] = (await poolNamed("hosts/give/pools/tank"))["parentDatasets"] as Json[];
    expect(parent).toMatchObject({ exists: true, volumes: "2", committedBytes: `${3 * GiB}` });
    await service.call("VolumeService/UpdateVolume", { volume: { name: "volumes/vol_a", capacityBytes: `${5 * GiB}` }, updateMask: "capacityBytes" });
    await service.call("VolumeService/DeleteVolume", { name: "volumes/vol_b" });
    const [after] = (await poolNamed("hosts/give/pools/tank"))["parentDatasets"] as Json[];
    expect(after).toMatchObject({ volumes: "1", committedBytes: `${5 * GiB}` });
  });

  it("tell what is wrong with them", async () => {
    service = await runningService();
    await poolNamed("hosts/give/pools/tank");
    service.plane.world.setPoolHealth("give", "tank", "DEGRADED");
    const degraded = await poolNamed("hosts/give/pools/tank");
    expect(degraded).toMatchObject({ health: "DEGRADED", condition: { reason: "POOL_DEGRADED" } });
    expect((degraded["condition"] as Json)["message"]).toContain("degraded state");
    service.plane.world.setPoolHealth("give", "tank", "SUSPENDED");
    expect(await poolNamed("hosts/give/pools/tank")).toMatchObject({ health: "SUSPENDED", condition: { reason: "POOL_SUSPENDED" } });
    const { pools } = await service.call("Service/GetCapacity", {});
    expect(pools).toMatchObject([{ health: "SUSPENDED" }]);
    expect((pools as Json[])[0]?.["availableBytes"]).toBeUndefined();
    service.plane.world.setPoolHealth("give", "tank", "ONLINE");
    service.plane.world.setOnline("give", false);
    expect(await poolNamed("hosts/give/pools/tank")).toMatchObject({ condition: { reason: "HOST_UNREACHABLE" } });
    expect(await service.call("PoolService/ListPools", {})).toEqual({ unreachableHosts: ["hosts/give"] });
  });

  it("are listed by host and name, several parents of one pool together", async () => {
    const pools = [{ name: "tank" }, { name: "tank", parentDataset: "tank/gold", quotaBytes: `${10 * GiB}`, overcommitRatio: 3 }, { name: "flash" }];
    service = await runningService({ hosts: [give(pools)] });
    const { pools: listed } = await service.call("PoolService/ListPools", { parent: "hosts/give" });
    expect(listed).toMatchObject([{ name: "hosts/give/pools/flash" }, { name: "hosts/give/pools/tank", parentDatasets: [{}, { quotaBytes: `${10 * GiB}`, overcommitRatio: 3 }] }]);
    await expect(service.call("PoolService/GetPool", { name: "hosts/give/pools/none" })).rejects.toThrow("not_found");
  });

  it("that run short of what they promised are told by their host, until there is room again", async () => {
    service = await runningService();
    const condition = async (): Promise<unknown> => {
      await service.call("VolumeService/SyncVolumes", {});
      return ((await service.call("HostService/GetHost", { name: "hosts/give" }))["host"] as Json)["condition"];
    };
    await service.volume("sparse", "initial", { capacityBytes: `${30 * GiB}`, sparse: true });
    expect(await condition()).toBeUndefined();
    await service.volume("thick", "initial", { capacityBytes: `${56 * GiB}`, sparse: false });
    expect(await condition()).toMatchObject({ reason: "POOL_SHORT", message: expect.stringMatching(/^tank has [\d.]+ GiB left, and its sparse volumes may still write 30\.0 GiB$/) as string });
    await service.call("VolumeService/DeleteVolume", { name: "volumes/sparse" });
    expect(await condition()).toBeUndefined();
  });

  it("get their quota when the parent is made, and when the record changes", async () => {
    service = await runningService({ hosts: [give([{ name: "tank", quotaBytes: 10 * GiB }])] });
    const quota = async (): Promise<unknown> => {
      const argv = ["zfs", "get", "-Hp", "-o", "value", "quota", "tank/zfsilo"] as const;
      return Number((await service.plane.world.executor("give").run(argv, { signal: new AbortController().signal })).stdout);
    };
    const change = async (quotaBytes?: number): Promise<void> => {
      const pools = [{ name: "tank", ...(quotaBytes !== undefined && { quotaBytes }) }];
      await service.call("HostService/UpdateHost", { host: { name: "hosts/give", pools }, updateMask: "pools" });
      await service.call("VolumeService/SyncVolumes", {});
    };
    await service.volume("vol_a", "initial", { capacityBytes: `${GiB}`, sparse: false });
    expect(await quota()).toBe(10 * GiB);
    await change(20 * GiB);
    expect(await quota()).toBe(20 * GiB);
    // Nobody says any more: it stays. None is a choice.
    await change(undefined);
    expect(await quota()).toBe(20 * GiB);
    await change(0);
    expect(await quota()).toBe(0);
    await expect(service.call("HostService/UpdateHost", { host: { name: "hosts/give", pools: [{ name: "tank", parentDataset: "tank/other" }] }, updateMask: "pools" })).rejects.toThrow(
      "volumes live under tank/zfsilo",
    );
  });

  it("are looked at under every parent dataset", async () => {
    service = await runningService({ hosts: [give([{ name: "tank" }, { name: "tank", parentDataset: "tank/gold" }])] });
    await service.volume("vol_a", "initial", { parentDataset: "tank/zfsilo" });
    await service.volume("vol_b", "initial", { parentDataset: "tank/gold" });
    expect(await service.call("VolumeService/SyncVolumes", {})).toEqual({ checked: "2" });
  });
});
