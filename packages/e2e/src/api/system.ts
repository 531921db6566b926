import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { GroupSnapshotService, HostService, OperationService, PoolService, Service, SnapshotService, VolumeService } from "@zfsilo/api";
import { parseConfig, startControlPlane, type ControlPlane } from "@zfsilo/control-plane";
import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Clients that hold the admin token. */
export interface Clients {
  readonly service: Client<typeof Service>;
  readonly hosts: Client<typeof HostService>;
  readonly volumes: Client<typeof VolumeService>;
  readonly snapshots: Client<typeof SnapshotService>;
  readonly groups: Client<typeof GroupSnapshotService>;
  readonly operations: Client<typeof OperationService>;
  readonly pools: Client<typeof PoolService>;
}

export function connectTo(address: string, token: string): Clients {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [authorize] });
  return {
    service: createClient(Service, transport),
    hosts: createClient(HostService, transport),
    volumes: createClient(VolumeService, transport),
    snapshots: createClient(SnapshotService, transport),
    groups: createClient(GroupSnapshotService, transport),
    operations: createClient(OperationService, transport),
    pools: createClient(PoolService, transport),
  };
}

/** A control plane of its own, in a directory of its own. */
export interface System extends Clients {
  readonly controlPlane: ControlPlane;
  /** Stops the control plane and starts it again on what it wrote. */
  /** `between` runs while it is stopped. */
  restart(between?: (dataDir: string) => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** As in the configuration file; undefined makes the simulated pair. */
  readonly hosts?: readonly object[];
  /** How often it reconciles by itself; default never, so that a test sees what a call alone does. */
  readonly reconcileSeconds?: number;
}

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const dataDir = await mkdtemp(join(tmpdir(), "zfsilo-system-"));
  const start = (): Promise<ControlPlane> => {
    const env = { ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_DATA_DIR: dataDir };
    const settings = { hosts: options.hosts, reconcile: { intervalSeconds: options.reconcileSeconds ?? 0 } };
    const file = { name: "test configuration", text: JSON.stringify(settings) };
    const log = createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent");
    return startControlPlane({ config: parseConfig(env, file), log, secretKey: undefined, sshAgentSocket: undefined });
  };
  let controlPlane = await start();
  const token = (await readFile(controlPlane.adminTokenFile, "utf8")).trim();
  const connect = (): Clients => connectTo(`127.0.0.1:${controlPlane.address.port}`, token);
  let clients = connect();
  return {
    get controlPlane() {
      return controlPlane;
    },
    get service() {
      return clients.service;
    },
    get hosts() {
      return clients.hosts;
    },
    get volumes() {
      return clients.volumes;
    },
    get snapshots() {
      return clients.snapshots;
    },
    get groups() {
      return clients.groups;
    },
    get operations() {
      return clients.operations;
    },
    get pools() {
      return clients.pools;
    },
    async restart(between = () => Promise.resolve()) {
      await controlPlane.stop();
      await between(dataDir);
      controlPlane = await start();
      clients = connect();
    },
    async stop() {
      await controlPlane.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
