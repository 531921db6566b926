import type { Client } from "@connectrpc/connect";
import { HostState, type csi } from "@zfsilo/api";
import { GuestProgram, programs, type Machine } from "@zfsilo/microvm";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { awaitState } from "../agent/agents.ts";
import type { System } from "../api/system.ts";
import { csiClients } from "./running-driver.ts";

/** The driver of a node on a machine, which is the machine's agent too: nothing else leads there. */
export interface GuestDriver {
  readonly node: Client<typeof csi.Node>;
  /** On this machine; leads to the one there. */
  readonly socket: string;
  readonly program: GuestProgram;
  stop(): Promise<void>;
}

/** On the machine. */
export const driverSocket = "/run/zfsilo-csi.sock";

const tokenFile = "/etc/zfsilo-csi.token";

/** Resolves when the machine has become hosts/NODE and is served. */
export async function startDriverOn(machine: Machine, node: string, system: System, flags: readonly string[] = ["--agent-allowed-root=/mnt"]): Promise<GuestDriver> {
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-csi-"));
  const { controlPlane } = system;
  const { port } = controlPlane.address;
  const here = join(directory, "csi.sock");
  const program = new GuestProgram(machine, {
    name: "zfsilo-csi",
    command: [
      ...[programs.node, programs.csi, "--mode=node", `--endpoint=unix://${driverSocket}`, `--control-plane=http://127.0.0.1:${port}`],
      ...[`--token-file=${tokenFile}`, `--node-name=${node}`, ...flags],
    ],
    files: { [tokenFile]: await readFile(controlPlane.adminTokenFile, "utf8") },
    tunnel: { ports: [port], sockets: { [here]: driverSocket } },
  });
  await program.start();
  await awaitState(system, `hosts/${node}`, HostState.ONLINE);
  return {
    node: csiClients(here).node,
    socket: here,
    program,
    async stop() {
      await program.cut();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
