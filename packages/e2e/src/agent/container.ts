import { programs, type GuestProgramOptions, type Machine } from "@zfsilo/microvm";
import { output } from "../api/real-hosts.ts";

const root = "/run/container";
const socket = "control-plane.sock";

export type ContainerPlace = "nsenter" | "chroot";

/**
 * What a container runtime would set up for the agent's image, in a guest that has none: a root directory with Node.js, zfsilo
 * and either way into the host, and without the host's programs, mounts and iSCSI records.
 */
export async function makeContainer(machine: Machine): Promise<void> {
  const directories = ["usr/bin", "usr/lib", "usr/lib64", "opt/zfsilo", "proc", "sys", "dev", "host", "etc", "var/lib/zfsilo"];
  const script = [
    `mkdir -p ${root} /var/lib/zfsilo`,
    `mount -t tmpfs -o mode=755 container ${root}`,
    `mount --make-private ${root}`,
    ...directories.map((directory) => `mkdir -p ${root}/${directory}`),
    ...["lib", "lib64", "bin"].map((name) => `ln -s usr/${name} ${root}/${name}`),
    `cp /usr/bin/nsenter /usr/sbin/chroot ${root}/usr/bin`,
    `cp /etc/ld.so.cache ${root}/etc`,
  ];
  await output(machine, "sh", "-ec", script.join("\n"));
}

export async function removeContainer(machine: Machine): Promise<void> {
  await output(machine, "sh", "-ec", `umount -l ${root}; rmdir ${root}`);
}

/** Runs an agent in the container: for nsenter as the chart does, for chroot as docs/agent.md tells. */
export function inContainer(place: ContainerPlace, port: number): Pick<GuestProgramOptions, "files" | "tunnel"> & { readonly wrapper: readonly string[] } {
  const namespaces = place === "nsenter" ? "--mount --uts --ipc --net" : "--mount --pid --fork";
  return {
    wrapper: ["/bin/sh", `${root}/enter`],
    files: {
      [`${root}/enter`]: `exec unshare ${namespaces} --propagation unchanged /bin/sh ${root}/inside "$@"\n`,
      [`${root}/inside`]: ["set -e", ...inside[place], `exec chroot ${root} "$@"`, ""].join("\n"),
      [`${root}/relay.cjs`]: relay(port),
    },
    tunnel: place === "nsenter" ? { guestSockets: { [`${root}/${socket}`]: port } } : { ports: [port] },
  };
}

const binds = ["usr/lib", "usr/lib64", "opt/zfsilo", "dev", "sys", "var/lib/zfsilo"].map((path) => `mount --rbind /${path} ${root}/${path}`);

const inside: Readonly<Record<ContainerPlace, readonly string[]>> = {
  // It sees the host's processes. The network is its own: iscsid, on an abstract socket, is not to be reached from it.
  nsenter: [...binds, `mount --rbind /proc ${root}/proc`, "ip link set lo up", `chroot ${root} ${programs.node} /relay.cjs &`],
  // The host's mounts are shared, so that what is mounted below /host is mounted there (mount_namespaces(7)).
  chroot: [...binds, `mount -t proc proc ${root}/proc`, `mount --rbind / ${root}/host`],
};

/** Stands for the network that leads out of a container. */
function relay(port: number): string {
  return `const net = require("node:net");
net.createServer((near) => {
  const far = net.connect("/${socket}");
  for (const [from, to] of [[near, far], [far, near]]) {
    from.pipe(to);
    from.on("error", () => to.destroy());
  }
}).listen(${port}, "127.0.0.1");
`;
}
