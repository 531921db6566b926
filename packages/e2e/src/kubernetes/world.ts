import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startSystem, type System } from "../api/system.ts";
import { driverOf, type RunningDriver } from "../csi/running-driver.ts";
import { leastValues, render, type Verdict } from "../deploy/chart.ts";
import { containerOf, podOf } from "../deploy/pods.ts";
import { sidecars } from "../deploy/sidecars.ts";
import { kubeSidecars } from "../deploy/tools.ts";
import { namespace, type KubeApi } from "./api.ts";
import { startCluster, type Cluster } from "./cluster.ts";
import { unusedPort } from "./free-port.ts";
import { controllerPod, installChart } from "./install.ts";
import { startProgram, startSidecar, type RunningSidecar } from "./sidecar.ts";

/** The chart on a cluster: its sidecars run against the driver, and the driver against simulated hosts. */
export interface KubernetesWorld {
  readonly system: System;
  readonly driver: RunningDriver;
  readonly cluster: Cluster;
  readonly verdicts: readonly Verdict[];
  readonly sidecars: readonly RunningSidecar[];
  log(sidecar: string): Promise<string>;
  stop(): Promise<void>;
}

/** What the chart calls the driver. */
export const driverName = "csi.zfsilo.io";

/** The cluster's only node, which the control plane knows as hst_take. */
export const nodeName = "node-1";

/** Builds what it needs first, which takes many minutes once. */
export async function startKubernetes(values: object): Promise<KubernetesWorld> {
  const verdicts = await render({ ...leastValues, ...values });
  const pod = podOf(verdicts, "zfsilo-controller");
  const programs = await kubeSidecars();

  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of stops.splice(0).reverse()) await end();
  };
  try {
    const system = await startSystem();
    stops.push(() => system.stop());
    const driver = await driverOf(system);
    stops.push(() => driver.stop());
    const cluster = await startCluster("zfsilo-controller");
    stops.push(() => cluster.stop());
    await installChart(cluster.api, verdicts, containerOf(pod, "csi-snapshotter").image.replace(/^.*:/, ""));
    await joinNode(cluster.api, driver);
    const { directory } = cluster;
    const started = await Promise.all(
      sidecars.map(({ name }) =>
        startSidecar(join(programs, name), containerOf(pod, name), {
          directory,
          kubeconfig: cluster.accountConfig,
          socket: driver.socket,
          pod: { "metadata.name": controllerPod, "metadata.namespace": namespace },
        }),
      ),
    );
    for (const sidecar of started) stops.push(() => sidecar.stop());
    const address = `127.0.0.1:${await unusedPort()}`;
    const flags = [`--kubeconfig=${cluster.adminConfig}`, `--http-endpoint=${address}`, "--feature-gates=CSIVolumeGroupSnapshot=true"];
    const controller = startProgram(join(programs, "snapshot-controller"), flags, { name: "snapshot-controller", directory, address });
    stops.push(() => controller.stop());
    return {
      system,
      driver,
      cluster,
      verdicts,
      sidecars: started,
      log: (sidecar) => readFile(join(directory, `${sidecar}.log`), "utf8"),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What kubelet does once node-driver-registrar has told it of the driver. */
async function joinNode(api: KubeApi, driver: RunningDriver): Promise<void> {
  const { nodeId } = await driver.node.nodeGetInfo({});
  const annotations = { "volumes.kubernetes.io/controller-managed-attach-detach": "true" };
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: nodeName, annotations } };
  await api.create(node);
  const drivers = [{ name: driverName, nodeID: nodeId, topologyKeys: null }];
  const csiNode = { apiVersion: "storage.k8s.io/v1", kind: "CSINode", metadata: { name: nodeName }, spec: { drivers } };
  await api.create(csiNode);
}
