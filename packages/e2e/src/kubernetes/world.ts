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

/** The chart on a cluster: its sidecars run against the driver. */
export interface Installation {
  readonly cluster: Cluster;
  readonly verdicts: readonly Verdict[];
  readonly sidecars: readonly RunningSidecar[];
  log(sidecar: string): Promise<string>;
  stop(): Promise<void>;
}

/** With a driver that acts on simulated hosts. */
export interface KubernetesWorld extends Installation {
  readonly system: System;
  readonly driver: RunningDriver;
}

/** What the chart calls the driver. */
export const driverName = "csi.zfsilo.io";

/** The only node of such a cluster, which the control plane knows as hst_take. */
export const nodeName = "node-1";

/** Builds what it needs first, which takes many minutes once. */
export async function startKubernetes(values: object): Promise<KubernetesWorld> {
  const stops = new Stops();
  try {
    const system = await startSystem();
    stops.add(() => system.stop());
    const driver = await driverOf(system);
    stops.add(() => driver.stop());
    const installation = await install(values, driver, nodeName);
    stops.add(() => installation.stop());
    await joinNode(installation.cluster.api, driver);
    return { ...installation, system, driver, stop: () => stops.run() };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

/** On a cluster of its own, which `node` may join. */
export async function install(values: object, driver: Pick<RunningDriver, "socket">, node: string): Promise<Installation> {
  const verdicts = await render({ ...leastValues, ...values });
  const pod = podOf(verdicts, "zfsilo-controller");
  const programs = await kubeSidecars();

  const stops = new Stops();
  try {
    const cluster = await startCluster("zfsilo-controller", node);
    stops.add(() => cluster.stop());
    await installChart(cluster.api, verdicts, containerOf(pod, "csi-snapshotter").image.replace(/^.*:/, ""));
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
    for (const sidecar of started) stops.add(() => sidecar.stop());
    const address = `127.0.0.1:${await unusedPort()}`;
    const flags = [`--kubeconfig=${cluster.adminConfig}`, `--http-endpoint=${address}`, "--feature-gates=CSIVolumeGroupSnapshot=true"];
    const controller = startProgram(join(programs, "snapshot-controller"), flags, { name: "snapshot-controller", directory, address });
    stops.add(() => controller.stop());
    return {
      cluster,
      verdicts,
      sidecars: started,
      log: (sidecar) => readFile(join(directory, `${sidecar}.log`), "utf8"),
      stop: () => stops.run(),
    };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

/** What was started last is stopped first. */
class Stops {
  readonly #stops: (() => Promise<void>)[] = [];

  add(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  async run(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
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
