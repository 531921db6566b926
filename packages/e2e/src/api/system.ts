import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { HostService, OperationService, Service, VolumeService } from "@zfsilo/api";
import { parseConfig, startControlPlane, type ControlPlane } from "@zfsilo/control-plane";
import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A control plane of its own, in a directory of its own, and clients that hold its admin token. */
export interface System {
  readonly controlPlane: ControlPlane;
  readonly service: Client<typeof Service>;
  readonly hosts: Client<typeof HostService>;
  readonly volumes: Client<typeof VolumeService>;
  readonly operations: Client<typeof OperationService>;
  /** Stops the control plane and starts it again on what it wrote. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** As in the configuration file; undefined makes the simulated pair. */
  readonly hosts?: readonly object[];
}

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const dataDir = await mkdtemp(join(tmpdir(), "zfsilo-system-"));
  const start = (): Promise<ControlPlane> => {
    const env = { ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_DATA_DIR: dataDir };
    const file = options.hosts && { name: "test configuration", text: JSON.stringify({ hosts: options.hosts }) };
    const log = createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent");
    return startControlPlane({ config: parseConfig(env, file), log, secretKey: undefined, sshAgentSocket: undefined });
  };
  let controlPlane = await start();
  const token = (await readFile(controlPlane.adminTokenFile, "utf8")).trim();
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const connect = () => {
    const transport = createGrpcTransport({
      baseUrl: `http://127.0.0.1:${controlPlane.address.port}`,
      interceptors: [authorize],
    });
    return {
      service: createClient(Service, transport),
      hosts: createClient(HostService, transport),
      volumes: createClient(VolumeService, transport),
      operations: createClient(OperationService, transport),
    };
  };
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
    get operations() {
      return clients.operations;
    },
    async restart() {
      await controlPlane.stop();
      controlPlane = await start();
      clients = connect();
    },
    async stop() {
      await controlPlane.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
