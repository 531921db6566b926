import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { csi } from "@zfsilo/api";
import { parseFlags, startDriver, type Driver } from "@zfsilo/csi";
import { createLogger, type Logger } from "@zfsilo/lib";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { System } from "../api/system.ts";

/** A driver on a socket of its own, with clients that call it there. */
export interface RunningDriver extends CsiClients {
  readonly socket: string;
  stop(): Promise<void>;
}

export interface CsiClients {
  readonly identity: Client<typeof csi.Identity>;
  readonly controller: Client<typeof csi.Controller>;
  readonly node: Client<typeof csi.Node>;
  readonly groups: Client<typeof csi.GroupController>;
  readonly metadata: Client<typeof csi.SnapshotMetadata>;
}

export interface RunningDriverOptions {
  readonly mode?: "controller" | "node" | "all";
  readonly nodeId?: string;
  readonly log?: Logger;
}

export async function runDriver(
  controlPlane: { readonly address: string; readonly tokenFile: string },
  { mode = "all", nodeId = "hst_take", log = testLog() }: RunningDriverOptions = {},
): Promise<RunningDriver> {
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-csi-"));
  const socket = join(directory, "csi.sock");
  const config = parseFlags([
    `--mode=${mode}`,
    `--endpoint=unix://${socket}`,
    `--control-plane=http://${controlPlane.address}`,
    `--token-file=${controlPlane.tokenFile}`,
    `--node-id=${nodeId}`,
  ]);
  const driver: Driver = await startDriver(config, log);
  return {
    socket,
    ...csiClients(socket),
    async stop() {
      await driver.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function testLog(): Logger {
  return createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent");
}

/** The driver of a system that runs in this process. */
export function driverOf({ controlPlane }: System, options?: RunningDriverOptions): Promise<RunningDriver> {
  const address = `127.0.0.1:${controlPlane.address.port}`;
  return runDriver({ address, tokenFile: controlPlane.adminTokenFile }, options);
}

export function csiClients(socket: string): CsiClients {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => net.connect(socket) },
  });
  return {
    identity: createClient(csi.Identity, transport),
    controller: createClient(csi.Controller, transport),
    node: createClient(csi.Node, transport),
    groups: createClient(csi.GroupController, transport),
    metadata: createClient(csi.SnapshotMetadata, transport),
  };
}
