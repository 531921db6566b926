import { childOf, parseDatasetName, parseIqn, parsePortal, parseZfsOptions } from "@zfsilo/host";
import { bytes, newVolumeHandle, type VolumeHandle } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { machineOn, type Machine } from "../../src/machines/machines.ts";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
let clusterId: string;
let give: Machine;
let take: Machine;
beforeEach(async () => {
  service = await runningService();
  await service.volume("kept", "mounted");
  clusterId = String((await service.call("Service/GetServerInfo", {}))["clusterId"]);
  give = machineOn(service.plane.world.executor("give"), []);
  take = machineOn(service.plane.world.executor("take"), []);
});
afterEach(() => service[Symbol.asyncDispose]());

const o = { signal: new AbortController().signal };
const portal = parsePortal({ address: "192.0.2.1", port: 3260 });
const datasetOf = (handle: VolumeHandle) => childOf(parseDatasetName("tank/zfsilo"), handle);
const targetOf = (handle: VolumeHandle) => parseIqn(`iqn.2026-01.io.zfsilo:${handle}`);

/** A volume with everything that hangs on it, as one whose row was lost. */
async function lostVolume(cluster = clusterId): Promise<VolumeHandle> {
  const handle = newVolumeHandle();
  const [dataset, target] = [datasetOf(handle), targetOf(handle)];
  const userProperties = { "zfsilo:volume": "vol_lost", "zfsilo:cluster": cluster };
  await give.zfs.createVolume({ dataset, sizeBytes: bytes(64n << 20n), sparse: true, options: parseZfsOptions({}), userProperties }, o);
  await give.devices.awaitZvolDevice(dataset, o);
  await give.lio.ensureExport({ handle, target, devicePath: `/dev/zvol/${dataset}`, portals: [portal], authentication: false }, o);
  return handle;
}

async function connect(handle: VolumeHandle): Promise<void> {
  const target = targetOf(handle);
  await give.lio.ensureInitiator({ target, initiator: await take.iscsi.initiatorName(o) }, o);
  await take.iscsi.writeNodeRecord({ target, portal, replacementTimeoutSeconds: 120 }, o);
  await take.iscsi.login({ target, portal }, o);
}

interface Listed {
  readonly host: string;
  readonly kind: string;
  readonly name: string;
  readonly guid: string;
  readonly description: string;
}

const list = async (): Promise<Listed[]> => ((await service.call("OrphanService/ListOrphans", {}))["orphans"] ?? []) as Listed[];
const remove = ({ host, kind, name, guid }: Listed, more: object = {}): Promise<Json> =>
  service.call("OrphanService/DeleteOrphan", { host, kind, name, guid, ...more });
const named = async (kind: string): Promise<Listed> => {
  const found = (await list()).find((orphan) => orphan.kind === `ORPHAN_KIND_${kind}`);
  if (found === undefined) throw new Error(`no orphan of kind ${kind}`);
  return found;
};

it("what records explain is none, whatever state it is in", async () => {
  expect(await list()).toEqual([]);
  service.plane.world.powerCycle("give");
  service.plane.world.powerCycle("take");
  expect(await list()).toEqual([]);
});

it("everything that a lost row leaves is listed, and goes piece by piece, from the outside in", async () => {
  const handle = await lostVolume();
  await connect(handle);
  const before = await list();
  expect(before.map(({ host, kind, name }) => [host, kind, name])).toEqual([
    ["hosts/give", "ORPHAN_KIND_DATASET", datasetOf(handle)],
    ["hosts/give", "ORPHAN_KIND_EXPORT", targetOf(handle)],
    ["hosts/take", "ORPHAN_KIND_NODE_RECORD", targetOf(handle)],
    ["hosts/take", "ORPHAN_KIND_SESSION", targetOf(handle)],
  ]);
  expect(await list()).toEqual(before);
  await expect(remove(await named("DATASET"))).rejects.toThrow("failed_precondition: delete dataset");
  await expect(remove(await named("EXPORT"))).rejects.toThrow("has a session");
  for (const kind of ["SESSION", "NODE_RECORD", "EXPORT", "DATASET"]) {
    const { operation } = await remove(await named(kind));
    expect((await service.call("OperationService/GetOperation", { name: operation }))["operation"]).toMatchObject({
      kind: "orphan.delete",
      state: "OPERATION_STATE_SUCCEEDED",
    });
  }
  expect(await list()).toEqual([]);
  expect(await give.zfs.findVolume(datasetOf(handle), o)).toBeUndefined();
  expect((await service.call("VolumeService/SyncVolume", { name: "volumes/kept" }))["differences"]).toBeUndefined();
});

describe("deleting is refused", () => {
  it.each([
    ["without a guid", { guid: "" }, "invalid_argument: guid"],
    ["without a name", { name: "" }, "invalid_argument: name"],
    ["without a kind", { kind: 0 }, "invalid_argument: kind"],
    ["with the guid of another", { guid: "1" }, "failed_precondition: dataset"],
    ["under another name", { name: "tank/zfsilo/other" }, "not_found"],
  ])("%s", async (_how, more, told) => {
    const handle = newVolumeHandle();
    const userProperties = { "zfsilo:volume": "vol_lost", "zfsilo:cluster": clusterId };
    const dataset = datasetOf(handle);
    await give.zfs.createVolume({ dataset, sizeBytes: bytes(64n << 20n), sparse: true, options: parseZfsOptions({}), userProperties }, o);
    await expect(remove(await named("DATASET"), more)).rejects.toThrow(told);
    expect(await give.zfs.findVolume(dataset, o)).toBeDefined();
  });

  it("for what a record explains", async () => {
    const { volume } = (await service.call("VolumeService/GetVolume", { name: "volumes/kept" })) as { volume: { dataset: string } };
    const zvol = await give.zfs.getVolume(parseDatasetName(volume.dataset), o);
    await expect(
      service.call("OrphanService/DeleteOrphan", { host: "hosts/give", kind: "ORPHAN_KIND_DATASET", name: zvol.dataset, guid: zvol.guid }),
    ).rejects.toThrow("not_found");
  });

  it("while it has a snapshot", async () => {
    const userProperties = { "zfsilo:volume": "vol_lost", "zfsilo:cluster": clusterId };
    const dataset = datasetOf(newVolumeHandle());
    await give.zfs.createVolume({ dataset, sizeBytes: bytes(64n << 20n), sparse: true, options: parseZfsOptions({}), userProperties }, o);
    await give.executor.run(["zfs", "snapshot", `${dataset}@a`], o);
    await expect(remove(await named("DATASET"))).rejects.toThrow("failed_precondition");
    expect(await give.zfs.findVolume(dataset, o)).toBeDefined();
  });
});

it("what another installation owns is not listed", async () => {
  await lostVolume("another-cluster");
  expect(await list()).toEqual([]);
});

it("a host that does not answer is told", async () => {
  service.plane.world.setOnline("take", false);
  expect(await service.call("OrphanService/ListOrphans", {})).toEqual({ unreachableHosts: ["hosts/take"] });
});

it("what a fence leaves is taken from the outside in, and all of it stays listed until it is gone", async () => {
  const name = "volumes/cut";
  await service.volume("cut", "mounted");
  await service.call("VolumeService/DisconnectVolume", { name, host: "hosts/take", force: true });
  await service.call("VolumeService/UnpublishVolume", { name });
  await service.call("VolumeService/DeleteVolume", { name });
  const left = async () => (await list()).map(({ kind, name: what }) => `${kind.slice("ORPHAN_KIND_".length)} ${what}`);
  expect((await left()).filter((one) => one.startsWith("MOUNT"))).toEqual(["MOUNT /mnt/cut", "MOUNT /srv/cut"]);
  await expect(remove(await named("SESSION"))).rejects.toThrow(/is mounted at .*\/mnt\/cut/);
  const [staging, target] = (await list()).filter(({ kind }) => kind === "ORPHAN_KIND_MOUNT");
  await remove(target!);
  expect(await left()).toContain("MOUNT /mnt/cut");
  const again = (await list()).find(({ name: what }) => what === staging!.name);
  await remove(again!);
  expect((await left()).filter((one) => one.startsWith("MOUNT"))).toEqual([]);
  for (const orphan of await list()) await remove(orphan);
  expect(await list()).toEqual([]);
  await service.volume("next", "mounted", { filesystem: { type: "xfs" }, capacityBytes: `${512 << 20}` });
});

it("what a fence leaves is removed when the machine is back, although the volume is gone", async () => {
  const name = "volumes/cut";
  await service.volume("cut", "mounted");
  service.plane.world.setOnline("take", false);
  await service.call("VolumeService/DisconnectVolume", { name, host: "hosts/take", force: true });
  await service.call("VolumeService/UnpublishVolume", { name });
  await service.call("VolumeService/DeleteVolume", { name });
  await service.call("VolumeService/SyncVolumes", {});
  service.plane.world.setOnline("take", true);
  expect((await list()).length).toBeGreaterThan(0);
  await service.call("VolumeService/SyncVolumes", {});
  expect(await list()).toEqual([]);
});
