import { HostState } from "@zfsilo/api";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { awaitState } from "../../src/agent/agents.ts";
import { output } from "../../src/api/real-hosts.ts";
import { mib, useRealWorld } from "../../src/api/real-world.ts";
import { until } from "../../src/api/until.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";
import { canBuildTools, kubeCluster, kubeNode, kubeSidecars } from "../../src/deploy/tools.ts";
import type { KubeApi, LiveObject } from "../../src/kubernetes/api.ts";
import { kubeletRoot, startKubelet, type Kubelet } from "../../src/kubernetes/kubelet.ts";
import { asDevice, claimOf, newClaim, newPod, podNamed, reference } from "../../src/kubernetes/objects.ts";
import { driverName, install, type Installation } from "../../src/kubernetes/world.ts";

const node = "take";
const mostVolumes = 16;

// Kubernetes' own controllers, sidecars and kubelet lead a claim and its pod to real disks: kubelet runs on take, beside the driver.
describe.runIf(canBuildTools())("kubelet on take", () => {
  const world = useRealWorld("kubelet", {
    reach: "driver",
    reconcileSeconds: 5,
    driverFlags: [`--agent-allowed-root=${kubeletRoot}`, `--max-volumes-per-node=${mostVolumes}`],
    programs: async () => {
      await kubeSidecars();
      await kubeCluster();
      return { "kube-node": await kubeNode() };
    },
  });
  let central: RunningDriver;
  let installation: Installation;
  let kubelet: Kubelet;
  let api: KubeApi;
  beforeAll(async () => {
    central = await driverOf(world.system, { mode: "controller" });
    installation = await install({ storageClasses: [{ name: "zfsilo", default: true, parameters: { host: "hst_give" } }] }, central, node);
    ({ api } = installation.cluster);
    kubelet = await startKubelet(world.machines.take, node, installation.cluster);
  });
  afterAll(async () => {
    await kubelet.stop();
    await installation.stop();
    await central.stop();
  });
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      console.log(`kubelet said last:\n${(await kubelet.log()).slice(-6_000)}`);
    });
  });
  afterEach(async () => {
    const { take } = world.machines;
    expect(await api.list("storage.k8s.io/v1", "VolumeAttachment")).toEqual([]);
    expect(await output(take, "losetup", "--list", "--noheadings")).toBe("");
    const left = `find ${kubeletRoot}/pods -mindepth 1; find ${kubeletRoot}/plugins -name 'pvc-*' -o -name globalmount -o -not -type d`;
    await until("kubelet has removed the pods' directories", async () => (await output(take, "sh", "-c", left)) === "");
  });

  const claim = async (name: string, spec?: object): Promise<void> => {
    await api.create(newClaim(name, node, spec));
    // Kubelet would look for its volume before it is there, and wait before it looks again.
    await until(`${name} is bound`, async () => (await api.get(claimOf(name)))?.status?.phase === "Bound");
  };
  const run = async (...[name, ...rest]: Parameters<typeof newPod>): Promise<LiveObject> => {
    await api.create(newPod(name, ...rest));
    return until(`${name} is running`, async () => {
      const pod = await api.get(podNamed(name));
      return pod?.status?.phase === "Running" && pod;
    });
  };
  /** As a user does: kubelet ends it, and then it is gone. */
  const end = async (name: string): Promise<void> => {
    await api.delete(podNamed(name), 1);
    await until(`${name} is gone`, async () => (await api.get(podNamed(name))) === undefined);
  };
  const release = async (claim: string): Promise<void> => {
    const { spec } = (await api.get(claimOf(claim)))!;
    await api.delete(claimOf(claim));
    await until(`the volume of ${claim} is gone`, async () => (await api.get(reference("v1", "PersistentVolume", spec!.volumeName!))) === undefined);
  };
  const volumeOf = async (claim: string): Promise<string> => (await api.get(claimOf(claim)))!.spec!.volumeName!;
  const mountOf = async (pod: LiveObject, claim: string): Promise<string> =>
    `${kubeletRoot}/pods/${pod.metadata.uid}/volumes/kubernetes.io~csi/${await volumeOf(claim)}/mount`;
  /** Major and minor number of the disk that the control plane says take has. */
  const diskOf = async (claim: string): Promise<string> => {
    const persistent = await api.get(reference("v1", "PersistentVolume", await volumeOf(claim)));
    const { volume } = await world.system.volumes.getVolume({ name: `volumes/${persistent!.spec!.csi!.volumeHandle}` });
    return output(world.machines.take, "stat", "-L", "-c", "%Hr:%Lr", volume!.attachments[0]!.device);
  };
  /** Take loses its power and comes back; `meanwhile` it is away. */
  const restart = async (meanwhile = async (): Promise<void> => {}): Promise<void> => {
    const { take } = world.machines;
    await take.reset({ wait: false });
    await awaitState(world.system, "hosts/take", HostState.OFFLINE);
    await meanwhile();
    await take.waitReady();
    await world.driver.program.rejoin();
    await kubelet.rejoin();
    await awaitState(world.system, "hosts/take", HostState.ONLINE);
  };

  it("registers the driver", async () => {
    const drivers = await until("the driver is registered", async () => {
      const found = await api.get(reference("storage.k8s.io/v1", "CSINode", node));
      return found?.spec?.drivers?.length === 1 && found.spec.drivers;
    });
    expect(drivers).toEqual([{ name: driverName, nodeID: node, topologyKeys: null, allocatable: { count: mostVolumes } }]);
    await until("the node is ready", async () => {
      const found = await api.get(reference("v1", "Node", node));
      return found?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
    });
  });

  it("a pod has a filesystem that belongs to its group, sees it grow, and leaves its files to the next", async () => {
    const { take } = world.machines;
    await claim("files");
    const first = await run("first", node, "files", { securityContext: { fsGroup: 2000 } });
    const mount = await mountOf(first, "files");
    expect(await output(take, "findmnt", "-n", "-o", "FSTYPE,MAJ:MIN", mount)).toMatch(new RegExp(`^ext4 +${await diskOf("files")}$`));
    expect(await output(take, "stat", "-c", "%g %A", mount)).toBe("2000 drwxrwsr-x");
    await output(take, "dd", "if=/dev/urandom", `of=${mount}/data`, "bs=1M", "count=4", "conv=fsync", "status=none");
    const written = await output(take, "sha256sum", "--tag", `${mount}/data`);

    await api.patch(claimOf("files"), { spec: { resources: { requests: { storage: "128Mi" } } } });
    await until("the claim has grown", async () => (await api.get(claimOf("files")))?.status?.capacity?.storage === "128Mi");
    expect(BigInt(await output(take, "findmnt", "-n", "-b", "-o", "SIZE", mount))).toBeGreaterThan(100n * mib);
    expect(await output(take, "sha256sum", "--tag", `${mount}/data`)).toBe(written);
    const use = await until("kubelet tells the new size", async () => {
      const { pods } = await kubelet.summary();
      const volume = pods.find(({ podRef }) => podRef.name === "first")?.volume?.find(({ name }) => name === "data");
      return (volume?.capacityBytes ?? 0) > 100 * Number(mib) && volume;
    });
    expect(use.usedBytes).toBeGreaterThan(4 * Number(mib));

    await end("first");
    const second = await run("second", node, "files", { securityContext: { fsGroup: 3000 } });
    const next = await mountOf(second, "files");
    expect((await output(take, "sha256sum", "--tag", `${next}/data`)).replace(next, mount)).toBe(written);
    expect(await output(take, "stat", "-c", "%g", `${next}/data`)).toBe("3000");
    await end("second");
    await release("files");
  });

  it("a pod has a disk as it is", async () => {
    const { take } = world.machines;
    await claim("disk", { volumeMode: "Block" });
    const pod = await run("machine", node, "disk", {}, asDevice);
    const device = `${kubeletRoot}/pods/${pod.metadata.uid}/volumeDevices/kubernetes.io~csi/${await volumeOf("disk")}`;
    expect(await output(take, "stat", "-L", "-c", "%F %Hr:%Lr", device)).toBe(`block special file ${await diskOf("disk")}`);
    // Kubelet keeps the disk from going away below a pod by a loop device of its own.
    expect(await output(take, "losetup", "--list", "--noheadings", "-O", "BACK-FILE")).toContain(`${await volumeOf("disk")}/dev/${pod.metadata.uid}`);
    await end("machine");
    await release("disk");
  });

  it("kubelet that was killed finds its volumes again: pods that stay keep theirs, and those that went meanwhile leave nothing behind", async () => {
    const { take } = world.machines;
    await Promise.all([claim("stays"), claim("goes")]);
    const [stays, goes] = await Promise.all([run("stays", node, "stays"), run("goes", node, "goes")]);
    const [kept, left] = [await mountOf(stays, "stays"), await mountOf(goes, "goes")];
    await output(take, "sh", "-c", `echo here > ${kept}/file`);
    await kubelet.kill();
    expect(await output(take, "cat", `${kept}/file`)).toBe("here");
    expect(await output(take, "findmnt", "-n", "-o", "FSTYPE", left)).toBe("ext4");
    // At once, and so unknown to kubelet: all it has is what it finds on its disk.
    await api.delete(podNamed("goes"));
    await kubelet.start();
    await release("goes");
    expect(await output(take, "cat", `${kept}/file`)).toBe("here");
    expect((await api.get(podNamed("stays")))?.status?.phase).toBe("Running");
    await end("stays");
    await release("stays");
  });

  it("a node that loses its power has the volumes of its pods again when it is back", async () => {
    const { take } = world.machines;
    await claim("power");
    const pod = await run("power", node, "power");
    const mount = await mountOf(pod, "power");
    await output(take, "sh", "-c", `echo kept > ${mount}/file && sync ${mount}/file`);
    await restart();
    await until("the pod has its volume again", async () => (await take.exec(["cat", `${mount}/file`])).stdout === "kept\n");
    await end("power");
    await release("power");
  });
});
