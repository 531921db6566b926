import { GuestProgram, type Machine } from "@zfsilo/microvm";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { output } from "../api/real-hosts.ts";
import { driverSocket } from "../csi/guest-driver.ts";
import type { Cluster } from "./cluster.ts";

/** Where kubelet keeps its pods and their volumes. */
export const kubeletRoot = "/var/lib/kubelet";

/** Kubernetes' kubelet on a machine, with containers that are pretended and volumes that are not (packages/e2e/kube-node). */
export interface Kubelet {
  /** /stats/summary, as far as it is read. */
  summary(): Promise<Summary>;
  /** SIGKILL. It stays away until `start`. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** After the machine lost its power and is back. */
  rejoin(): Promise<void>;
  log(): Promise<string>;
  stop(): Promise<void>;
}

export interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly volume?: readonly { readonly name: string; readonly capacityBytes?: number; readonly usedBytes?: number }[];
  }[];
}

const program = "/opt/zfsilo/bin/kube-node";
const runtimeSocket = "/run/kube-runtime.sock";
const configFile = "/etc/kubelet.json";
const kubeconfigFile = "/etc/kubelet.kubeconfig";
const statsPort = 10255;

/** The machine has the program as bin/kube-node, and a driver that listens. */
export async function startKubelet(machine: Machine, node: string, cluster: Cluster): Promise<Kubelet> {
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-kubelet-"));
  const stats = join(directory, "stats.sock");
  const registry = `${kubeletRoot}/plugins_registry`;
  await output(machine, "mkdir", "-p", registry);
  const runtime = new GuestProgram(machine, { name: "kube-runtime", command: [program, "runtime", runtimeSocket] });
  const registrar = new GuestProgram(machine, { name: "kube-registrar", command: [program, "registrar", driverSocket, registry] });
  const kubelet = new GuestProgram(machine, {
    name: "kubelet",
    command: [program, "kubelet", `--config=${configFile}`, `--kubeconfig=${kubeconfigFile}`, `--root-dir=${kubeletRoot}`, `--hostname-override=${node}`],
    files: { [configFile]: JSON.stringify(configuration), [kubeconfigFile]: await cluster.nodeConfig() },
    tunnel: { ports: [cluster.port], sockets: { [stats]: `127.0.0.1:${statsPort}` } },
  });
  await runtime.start();
  await registrar.start();
  await kubelet.start();
  return {
    summary: () => read(stats, "/stats/summary"),
    async kill() {
      await output(machine, "sh", "-c", "systemctl kill --signal=KILL kubelet; systemctl stop kubelet");
    },
    async start() {
      await output(machine, "systemctl", "start", "kubelet");
    },
    rejoin: () => kubelet.rejoin(),
    log: () => output(machine, "journalctl", "--no-pager", "-o", "cat", "-u", "kubelet", "-u", "kube-registrar", "-n", "100"),
    async stop() {
      await kubelet.cut();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const configuration = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  address: "127.0.0.1",
  readOnlyPort: statsPort,
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  containerRuntimeEndpoint: `unix://${runtimeSocket}`,
  // There are no processes to be held in groups, no network to be filtered, no images to make room for.
  cgroupsPerQOS: false,
  enforceNodeAllocatable: [],
  makeIPTablesUtilChains: false,
  evictionHard: {},
  failSwapOn: false,
  resolvConf: "",
  // One minute by default, which a test would have to wait.
  volumeStatsAggPeriod: "2s",
};

async function read(socketPath: string, path: string): Promise<Summary> {
  const call = request({ socketPath, path, agent: false }).end();
  const [response] = (await once(call, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  if (response.statusCode !== 200) throw new Error(`kubelet's ${path}: ${response.statusCode}: ${text}`);
  return JSON.parse(text) as Summary;
}
