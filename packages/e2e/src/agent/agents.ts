import { HostState } from "@zfsilo/api";
import { GuestProgram, programs, type GuestProgramOptions, type Machine } from "@zfsilo/microvm";
import type { System } from "../api/system.ts";
import { until } from "../api/until.ts";

export interface AgentOptions extends Partial<Pick<GuestProgramOptions, "environment" | "files" | "tunnel">> {
  /** Around the agent's command. */
  readonly wrapper?: readonly string[];
}

/** Runs the agent of a host that is known to the control plane on its machine, and waits until it serves. */
export async function startAgentOn(machine: Machine, host: string, system: System, options: AgentOptions = {}): Promise<GuestProgram> {
  const { secret } = await system.hosts.createJoinToken({ host });
  const { port } = system.controlPlane.address;
  const { environment = {}, files = {}, tunnel = { ports: [port] }, wrapper = [] } = options;
  const agent = new GuestProgram(machine, {
    name: "zfsilo-agent",
    command: [...wrapper, programs.node, programs.agent],
    // What is plain text here goes through ssh.
    environment: { ZFSILO_CONTROL_PLANE: `http://127.0.0.1:${port}`, ZFSILO_JOIN_TOKEN: secret, ...environment },
    files,
    tunnel,
  });
  await agent.start();
  await awaitState(system, host, HostState.ONLINE);
  return agent;
}

export async function awaitState(system: System, name: string, state: HostState): Promise<void> {
  // A host that a driver makes is not there at first.
  const look = async (): Promise<boolean> => (await system.hosts.listHosts({})).hosts.some((host) => host.name === name && host.state === state);
  await until(`${name} is ${state === HostState.ONLINE ? "online" : "offline"}`, look, { everyMs: 200 });
}
