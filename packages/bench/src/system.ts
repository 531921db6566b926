import { createClient, type Client, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { HostService, SnapshotService, VolumeService } from "@zfsilo/api";
import type { Executor } from "@zfsilo/command";
import { parseConfig, startControlPlane } from "@zfsilo/control-plane";
import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Volumes = Client<typeof VolumeService>;
export type Snapshots = Client<typeof SnapshotService>;

/** A directory for one control plane's data, which goes with its owner. */
export interface DataDirectory extends AsyncDisposable {
  readonly path: string;
}

/** A control plane in this process, and a client that holds its admin token. */
export interface System extends AsyncDisposable {
  readonly url: string;
  /** File with its admin token. */
  readonly tokenFile: string;
  readonly volumes: Volumes;
  readonly snapshots: Snapshots;
  readonly hosts: Client<typeof HostService>;
  /** What acts on a host, by its id. */
  executor(host: string): Promise<Executor>;
}

export interface SystemOptions {
  readonly dataDir: string;
  /** As in the configuration file; undefined makes the simulated pair. */
  readonly hosts?: readonly object[];
}

export async function temporaryDirectory(): Promise<DataDirectory> {
  const path = await mkdtemp(join(tmpdir(), "zfsilo-bench-"));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
    },
  };
}

export async function startSystem({ dataDir, hosts }: SystemOptions): Promise<System> {
  const file = hosts && { name: "bench", text: JSON.stringify({ hosts }) };
  const controlPlane = await startControlPlane({
    config: parseConfig({ ZFSILO_LISTEN: "127.0.0.1:0", ZFSILO_DATA_DIR: dataDir }, file),
    // The level of a default start: lines are made as there, and not shown.
    log: createLogger("info", { write: () => undefined }),
    secretKey: undefined,
    sshAgentSocket: undefined,
  });
  const token = await readFile(controlPlane.adminTokenFile, "utf8");
  const url = `http://127.0.0.1:${controlPlane.address.port}`;
  return {
    url,
    tokenFile: controlPlane.adminTokenFile,
    volumes: volumeClient(url, token),
    snapshots: createClient(SnapshotService, transport(url, token)),
    hosts: createClient(HostService, transport(url, token)),
    executor: (host) => controlPlane.executor(host),
    async [Symbol.asyncDispose]() {
      await controlPlane.stop();
    },
  };
}

export function volumeClient(baseUrl: string, token: string): Volumes {
  return createClient(VolumeService, transport(baseUrl, token));
}

function transport(baseUrl: string, token: string): Transport {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token.trim()}`);
    return next(request);
  };
  return createGrpcTransport({ baseUrl, interceptors: [authorize] });
}
