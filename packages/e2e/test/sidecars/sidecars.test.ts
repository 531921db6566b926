import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { oneLife } from "../../src/api/one-life.ts";
import { mountCapability } from "../../src/csi/capability.ts";
import { containerOf, find, podOf } from "../../src/deploy/pods.ts";
import { builtVersion, permissions, sidecars, type Rule } from "../../src/deploy/sidecars.ts";
import { canBuildTools } from "../../src/deploy/tools.ts";
import { namespace, soon, type KubeApi, type LiveObject, type Reference } from "../../src/kubernetes/api.ts";
import { claimOf, newClaim, newPod, podNamed, reference } from "../../src/kubernetes/objects.ts";
import { driverName, nodeName, startKubernetes, type KubernetesWorld } from "../../src/kubernetes/world.ts";

const mib = 1n << 20n;
const snapshotGroup = "snapshot.storage.k8s.io/v1";
const groupSnapshotGroup = "groupsnapshot.storage.k8s.io/v1";

/** As docs/kubernetes.md has them, with a group class and a class to change to. */
const values = {
  storageClasses: [{ name: "zfsilo", default: true, parameters: { "zfs.compression": "lz4" } }],
  volumeSnapshotClasses: [{ name: "zfsilo" }],
  volumeGroupSnapshotClasses: [{ name: "zfsilo" }],
  volumeAttributesClasses: [{ name: "archive", parameters: { "zfs.compression": "zstd" } }],
};

const snapshotOf = (name: string): Reference => reference(snapshotGroup, "VolumeSnapshot", name);

describe.runIf(canBuildTools())("the chart's sidecars", () => {
  let world: KubernetesWorld;
  let api: KubeApi;
  let before: unknown;
  beforeAll(async () => {
    world = await startKubernetes(values);
    ({ api } = world.cluster);
    await oneLife(world.system);
    before = world.system.controlPlane.world.snapshot();
  });
  afterAll(() => world.stop());
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      for (const name of [...world.sidecars.map((sidecar) => sidecar.name), "snapshot-controller"]) {
        console.log(`${name} said last:\n${(await world.log(name)).slice(-2_000)}`);
      }
    });
  });

  const bound = (claim: string): Promise<LiveObject> =>
    soon(`claim ${claim} is bound`, async () => {
      const found = await api.get(claimOf(claim));
      if (found?.status?.phase !== "Bound") return undefined;
      return api.get(reference("v1", "PersistentVolume", found.spec!.volumeName!));
    });
  const volumeOf = async (claim: string) => {
    const persistent = await bound(claim);
    const { volumes } = await world.system.volumes.listVolumes({});
    return volumes.find(({ name }) => name === `volumes/${persistent.spec!.csi!.volumeHandle}`)!;
  };

  it.each(sidecars)("$name is the version that the chart installs", async (sidecar) => {
    const { image } = containerOf(podOf(world.verdicts, "zfsilo-controller"), sidecar.name);
    expect(image).toBe(`registry.k8s.io/sig-storage/${sidecar.name}:${await builtVersion(sidecar)}`);
  });

  it.each(sidecars)("$name becomes ready: it serves, holds its lease, and stays up", async ({ name }) => {
    const sidecar = world.sidecars.find((running) => running.name === name)!;
    await soon(`${name} is healthy`, async () => (await sidecar.status("/healthz/leader-election")) === 200);
    const suffix = name.replace("csi-", "");
    await soon(`${name} leads`, async () => {
      const leases = await api.list("coordination.k8s.io/v1", "Lease");
      const own = leases.filter(({ metadata }) => (suffix === "provisioner" ? metadata.name === "csi-zfsilo-io" : metadata.name.includes(suffix)));
      return own.some(({ spec }) => Boolean(spec?.holderIdentity));
    });
    expect(await sidecar.status("/metrics")).toBe(200);
    expect(sidecar.exitCode).toBeUndefined();
  });

  it("the scheduler looks for published room only where there is some: it would start no pod", async () => {
    const driver = await api.get(reference("storage.k8s.io/v1", "CSIDriver", driverName));
    const published = await api.list("storage.k8s.io/v1", "CSIStorageCapacity");
    expect(driver?.spec?.storageCapacity).toBe(published.length > 0);
  });

  it("a claim becomes a volume", async () => {
    await api.create(newClaim("data", nodeName));
    const persistent = await bound("data");
    expect(persistent.spec).toMatchObject({ capacity: { storage: "64Mi" }, csi: { driver: driverName }, persistentVolumeReclaimPolicy: "Delete" });
    const volume = await volumeOf("data");
    expect(volume.capacityBytes).toBe(64n * mib);
    expect(volume.zfsOptions["compression"]).toBe("lz4");
    expect(Object.values(volume.labels)).toEqual(expect.arrayContaining(["data", namespace, persistent.metadata.name]));
  });

  it("a pod's volume is attached to its node, and kubelet can mount it from what the objects say", async () => {
    await api.create(newPod("shop", nodeName, "data"));
    const attachment = await soon("the volume is attached", async () => {
      const found = await api.list("storage.k8s.io/v1", "VolumeAttachment");
      return found.find(({ status }) => status?.attached === true);
    });
    const { volumeHandle: volumeId, volumeAttributes: volumeContext = {}, fsType } = (await bound("data")).spec!.csi!;
    const common = { volumeId, publishContext: attachment.status!.attachmentMetadata ?? {}, volumeContext };
    const staging = { stagingTargetPath: "/mnt/staging", volumeCapability: mountCapability(fsType) };
    await world.driver.node.nodeStageVolume({ ...common, ...staging });
    await world.driver.node.nodePublishVolume({ ...common, ...staging, targetPath: "/mnt/pod" });
    expect((await volumeOf("data")).attachments).toMatchObject([{ host: "hosts/hst_take", targetPaths: ["/mnt/pod"] }]);
  });

  it("a claim grows while it is in use", async () => {
    await api.patch(claimOf("data"), { spec: { resources: { requests: { storage: "128Mi" } } } });
    await soon("the claim has grown", async () => (await api.get(claimOf("data")))?.status?.capacity?.storage === "128Mi");
    expect((await volumeOf("data")).capacityBytes).toBe(128n * mib);
  });

  it("a claim changes its class", async () => {
    await api.patch(claimOf("data"), { spec: { volumeAttributesClassName: "archive" } });
    await soon("the class is in force", async () => (await api.get(claimOf("data")))?.status?.currentVolumeAttributesClassName === "archive");
    expect((await volumeOf("data")).zfsOptions["compression"]).toBe("zstd");
  });

  it("a claim is snapshotted, restored and cloned", async () => {
    await api.create({ ...snapshotOf("monday"), spec: { volumeSnapshotClassName: "zfsilo", source: { persistentVolumeClaimName: "data" } } } as Reference);
    await soon("the snapshot is ready", async () => (await api.get(snapshotOf("monday")))?.status?.readyToUse === true);
    const resources = { requests: { storage: "128Mi" } };
    await api.create(newClaim("restored", nodeName, { resources, dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "monday" } }));
    await api.create(newClaim("copy", nodeName, { resources, dataSource: { kind: "PersistentVolumeClaim", name: "data" } }));
    expect((await volumeOf("restored")).source?.source.case).toBe("snapshot");
    expect((await volumeOf("copy")).source?.source.case).toBe("volume");
  });

  it("claims are snapshotted together", async () => {
    const group = reference(groupSnapshotGroup, "VolumeGroupSnapshot", "all");
    await api.create({ ...group, spec: { volumeGroupSnapshotClassName: "zfsilo", source: { selector: { matchLabels: { app: "shop" } } } } } as Reference);
    // Its controller puts the finalizer on after that (snapshot-controller v8.7.0): a group deleted before leaves its content behind.
    await soon("the group is ready and held", async () => {
      const seen = await api.get(group);
      return seen?.status?.readyToUse === true && (seen.metadata.finalizers?.length ?? 0) > 0;
    });
    const { groupSnapshots } = await world.system.groups.listGroupSnapshots({});
    expect(groupSnapshots).toHaveLength(1);
    await api.delete(group);
    await soon("the group is gone", async () => (await world.system.groups.listGroupSnapshots({})).groupSnapshots.length === 0);
  });

  it("what goes leaves nothing behind", async () => {
    const volumeId = (await bound("data")).spec!.csi!.volumeHandle;
    await world.driver.node.nodeUnpublishVolume({ volumeId, targetPath: "/mnt/pod" });
    await world.driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath: "/mnt/staging" });
    await api.delete(podNamed("shop"));
    await soon("nothing is attached", async () => (await api.list("storage.k8s.io/v1", "VolumeAttachment")).length === 0);
    for (const claim of ["copy", "restored"]) await api.delete(claimOf(claim));
    await api.delete(snapshotOf("monday"));
    await api.delete(claimOf("data"));
    for (const [version, kind] of [["v1", "PersistentVolume"], [snapshotGroup, "VolumeSnapshotContent"], [groupSnapshotGroup, "VolumeGroupSnapshotContent"]] as const) {
      await soon(`no ${kind} is left`, async () => (await api.list(version, kind)).length === 0);
    }
    expect((await world.system.volumes.listVolumes({})).volumes).toEqual([]);
    await soon("the machines are as before", () => Promise.resolve(isDeepStrictEqual(world.system.controlPlane.world.snapshot(), before)));
  });

  it.each(sidecars)("$name asked for nothing that its roles do not grant", async ({ name }) => {
    const rulesOf = (kind: string, role: string): Rule[] => find(world.verdicts, kind, role)["rules"] as Rule[];
    const everywhere = permissions(rulesOf("ClusterRole", name.replace("csi-", "zfsilo-")));
    const inNamespace = permissions(rulesOf("Role", "zfsilo-controller"));
    const calls = (await world.cluster.calls()).filter(({ program }) => program === name);
    expect(calls.length).toBeGreaterThan(10);
    const missing = calls.filter((call) => !everywhere.has(call.permission) && !(call.namespace === namespace && inNamespace.has(call.permission)));
    expect(new Set(missing.map(({ permission }) => permission))).toEqual(new Set());
    expect(calls.filter(({ allowed }) => !allowed)).toEqual([]);
  });
});
