import { SshExecutor } from "@zfsilo/command";
import { parseIqn, parsePoolName, parsePortal } from "@zfsilo/host";
import { bringUp, initiatorName, makeProgramDisk, poolName, type Machine } from "@zfsilo/microvm";
import { startAgentOn } from "../agent/agents.ts";
import { realHosts } from "../api/real-hosts.ts";
import { startSystem } from "../api/system.ts";
import type { HostWorld } from "./world.ts";

/**
 * Fresh give and take, acted on through an agent in each: kernels, tools and the agents' policy are tried at once, in the time of one
 * suite. What ssh does is tried by hand here, and by the calls of the API on give and take.
 */
export async function giveAndTake(instance: string): Promise<HostWorld> {
  const { signal } = new AbortController();
  const machines = await bringUp({ instance, signal, log: (line) => process.stderr.write(`${line}\n`) });
  const system = await startSystem({ hosts: realHosts(machines, "agent") });
  const disk = await makeProgramDisk();
  await Promise.all([disk.plugInto(machines.give), disk.plugInto(machines.take)]);
  const agents = await Promise.all([
    startAgentOn(machines.give, "hosts/hst_give", system),
    startAgentOn(machines.take, "hosts/hst_take", system),
  ]);
  const byHand = { target: executorOf(machines.give), initiator: executorOf(machines.take) };
  return {
    kind: "real",
    target: await system.controlPlane.executor("hst_give"),
    initiator: await system.controlPlane.executor("hst_take"),
    byHand,
    pool: parsePoolName(poolName),
    portal: parsePortal({ address: machines.give.storageAddress, port: 3260 }),
    initiatorIqn: parseIqn(initiatorName),
    close: async () => {
      await system.stop();
      await Promise.all(agents.map((agent) => agent.cut()));
      await Promise.all([byHand.target.close(), byHand.initiator.close()]);
      await machines.stop();
      await disk.remove();
    },
  };
}

function executorOf({ name, ssh }: Machine): SshExecutor {
  const { host: address, port, user, privateKeyPath: privateKeyFile, knownHostsPath: knownHostsFile } = ssh;
  return new SshExecutor(name, { address, port, user, privateKeyFile, knownHostsFile });
}
