import { SshExecutor } from "@zfsilo/command";
import { parseIqn, parsePoolName, parsePortal } from "@zfsilo/host";
import { bringUp, initiatorName, poolName, type Machine } from "@zfsilo/microvm";
import { hostContract } from "../../src/host-contract/suite.ts";

function executorOf({ name, ssh }: Machine): SshExecutor {
  const { host: address, port, user, privateKeyPath: privateKeyFile, knownHostsPath: knownHostsFile } = ssh;
  return new SshExecutor(name, { address, port, user, privateKeyFile, knownHostsFile });
}

hostContract("give and take", async () => {
  const { signal } = new AbortController();
  const machines = await bringUp({ instance: "contract", signal, log: (line) => process.stderr.write(`${line}\n`) });
  const target = executorOf(machines.give);
  const initiator = executorOf(machines.take);
  return {
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
});
