import type { Machines } from "./pair.ts";
import { initiatorName, poolName } from "./roles.ts";

/** The requests of zfsilo.v1.HostService/CreateHost that make a control plane on this machine drive the two machines. */
export function createHostRequests(machines: Machines): readonly object[] {
  const connection = ({ ssh }: Machines["give"]): object => ({
    address: ssh.host,
    port: ssh.port,
    user: ssh.user,
    privateKeyFile: ssh.privateKeyPath,
    knownHostsFile: ssh.knownHostsPath,
  });
  return [
    {
      hostId: "hst_vm_give",
      host: {
        displayName: "give",
        roles: ["HOST_ROLE_TARGET"],
        ssh: connection(machines.give),
        pools: [{ name: poolName }],
        portals: [{ address: machines.give.storageAddress, port: 3260 }],
      },
    },
    {
      hostId: "hst_vm_take",
      host: {
        displayName: "take",
        roles: ["HOST_ROLE_INITIATOR"],
        ssh: connection(machines.take),
        initiatorIqn: initiatorName,
      },
    },
  ];
}
