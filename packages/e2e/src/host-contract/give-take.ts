import { SshExecutor } from "@zfsilo/command";
import { parseIqn, parsePoolName, parsePortal } from "@zfsilo/host";
import { bringUp, initiatorName, poolName, type Machine, type Machines } from "@zfsilo/microvm";
import type { HostWorld } from "./world.ts";

/** Fresh give and take, acted on over ssh. */
export async function giveAndTake(instance: string): Promise<HostWorld & { readonly machines: Machines }> {
  const { signal } = new AbortController();
  const machines = await bringUp({ instance, signal, log: (line) => process.stderr.write(`${line}\n`) });
  const target = executorOf(machines.give);
  const initiator = executorOf(machines.take);
  return {
    machines,
    kind: "real",
    target,
    initiator,
    pool: parsePoolName(poolName),
    portal: parsePortal({ address: machines.give.storageAddress, port: 3260 }),
    initiatorIqn: parseIqn(initiatorName),
    close: async () => {
      await Promise.all([target.close(), initiator.close()]);
      await machines.stop();
    },
  };
}

function executorOf({ name, ssh }: Machine): SshExecutor {
  const { host: address, port, user, privateKeyPath: privateKeyFile, knownHostsPath: knownHostsFile } = ssh;
  return new SshExecutor(name, { address, port, user, privateKeyFile, knownHostsFile });
}
