import { mustExec, type Machine, type Machines } from "@zfsilo/microvm";

/** How the control plane acts on the machines. `driver`: take becomes a host, hosts/take, by the CSI driver that runs there. */
export type Reach = "ssh" | "agent" | "driver";

/** The configuration of give and take as hosts. Give is an initiator too: the second one, for volumes that two share. */
export function realHosts({ give, take }: Machines, reach: Reach = "ssh"): object[] {
  const connection = (machine: Machine): object => (reach === "ssh" ? { ssh: sshOf(machine) } : { agent: {} });
  return [
    {
      id: "hst_give",
      roles: ["target", "initiator"],
      ...connection(give),
      pools: [{ name: "tank" }],
      portals: [{ address: give.storageAddress }],
    },
    ...(reach === "driver" ? [] : [{ id: "hst_take", roles: ["initiator"], ...connection(take) }]),
  ];
}

function sshOf({ ssh }: Machine): object {
  return {
    address: ssh.host,
    port: ssh.port,
    user: ssh.user,
    privateKeyFile: ssh.privateKeyPath,
    knownHostsFile: ssh.knownHostsPath,
  };
}

/** What a program that must succeed printed. */
export async function output(machine: Machine, ...argv: [string, ...string[]]): Promise<string> {
  return (await mustExec(machine, argv)).trim();
}

/** Everything that zfsilo could leave on a machine, one line each: compared before and after a test. */
export async function traces(machines: Machines): Promise<string[]> {
  const looks = [
    "zfs list -H -o name -t all -r tank 2>/dev/null | grep -v -x -e tank -e tank/zfsilo",
    "ls -d /sys/kernel/config/target/iscsi/iqn.* /sys/kernel/config/target/core/iblock_*/* 2>/dev/null | grep -v /hba_",
    "cat /sys/class/iscsi_session/session*/targetname 2>/dev/null",
    "find /etc/iscsi/nodes -mindepth 1 2>/dev/null",
    "grep -E ' (/mnt|/srv|/media|/var/lib/kubelet)' /proc/self/mountinfo",
    "find /mnt /srv /media -mindepth 1 -maxdepth 2 2>/dev/null",
    "ls /dev/zvol/tank/zfsilo 2>/dev/null",
  ];
  const script = looks.join("\n");
  const found = await Promise.all(
    [machines.give, machines.take].map(async (machine) => {
      const { stdout } = await machine.exec(["sh", "-c", script]);
      return stdout.split("\n").filter((line) => line !== "").map((line) => `${machine.name}: ${line}`);
    }),
  );
  return found.flat().sort();
}
