import { findDevice } from "../device.ts";
import { UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { MountDoc } from "../model.ts";
import { isMounted, showProperty } from "../zfs/show.ts";
import { allMounts } from "./mounts.ts";
import { directory, file, listing, type VirtualNode } from "./virtual-tree.ts";

/** /proc: mounts, addresses, modules and the names of running processes. */
export function procfs(machine: Machine): VirtualNode {
  const mountinfo = file(() => mountinfoText(machine));
  const commands: Readonly<Record<string, string>> = {
    "1": "systemd",
    "2": "kthreadd",
    "301": "sshd",
    ...(machine.facts.initiator ? { "302": "iscsid" } : {}),
  };
  const entries: Readonly<Record<string, VirtualNode>> = {
    self: directory({ mountinfo }),
    net: directory({
      fib_trie: file(() => fibTrie(machine)),
      if_inet6: file(() => inet6(machine)),
      tcp: file(() => sockets(machine, false)),
      tcp6: file(() => sockets(machine, true)),
    }),
    swaps: file("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    sys: directory({ kernel: directory({ osrelease: file("6.1.0-44-amd64\n") }) }),
    modules: file(() => (machine.model.kernels.get(machine.name)?.modules ?? []).map((name) => `${name} 16384 0 - Live 0x0\n`).join("")),
    ...Object.fromEntries(Object.entries(commands).map(([id, name]) => [id, directory({ comm: file(`${name}\n`) })])),
  };
  return listing(
    () => Object.keys(entries),
    (name) => {
      if (/^\d+$/.test(name) || Object.hasOwn(entries, name)) return entries[name];
      throw new UnmodelledError(`/proc/${name}`);
    },
  );
}

/** Mounts that are there from boot, in the form of proc(5): id, parent, device, root, place, options, type, source, options. */
const systemMounts: readonly string[] = [
  "22 1 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw",
  "23 1 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw",
  "24 1 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=740000k,nr_inodes=185000,mode=755",
  "25 1 0:23 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw,size=150000k,mode=755",
  "26 22 0:24 / /sys/kernel/config rw,nosuid,nodev,noexec,relatime shared:15 - configfs configfs rw",
];

function mountinfoText(machine: Machine): string {
  const [root, ...mounts] = allMounts(machine).map((mount) => mountLine(machine, mount));
  const datasets = machine.model.pools.children(machine.name).flatMap((pool, index) => {
    if (!isMounted(machine, pool)) return [];
    const place = showProperty(machine, pool, "mountpoint").value;
    return [`${30 + index} 1 0:${40 + index} / ${escapePath(place)} rw,relatime shared:${30 + index} - zfs ${pool} rw,xattr,noacl`];
  });
  return [root ?? "", ...systemMounts, ...datasets, ...mounts].map((line) => `${line}\n`).join("");
}

function mountLine(machine: Machine, mount: MountDoc): string {
  const device = mount.device === undefined ? undefined : findDevice(machine, mount.device);
  const bound = mount.content === undefined;
  const number = bound ? "0:5" : (device?.number ?? "254:0");
  const mode = mount.readOnly ? "ro" : "rw";
  // ext4 turns its superblock read-only when it gives up.
  const superMode = mount.failed || mount.options.includes("ro") ? "ro" : "rw";
  const more = mount.options.filter((option) => option !== "rw" && option !== "ro");
  const source = bound ? "udev" : mount.source;
  const root = mount.root === "" ? "/" : mount.root;
  return [
    mount.id,
    mount.parent,
    number,
    escapePath(root),
    escapePath(mount.at),
    [mode, ...more].join(","),
    `shared:${mount.id}`,
    "-",
    mount.fstype,
    escapePath(source),
    superMode,
  ].join(" ");
}

/** Space, tab, newline and backslash are written in octal. */
function escapePath(path: string): string {
  return path.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

function fibTrie(machine: Machine): string {
  const own = ["127.0.0.1", ...machine.facts.addresses.filter((address) => !address.includes(":"))];
  const leaves = own.map((address) => `        |-- ${address}\n           /32 host LOCAL\n`);
  return `Main:\n  +-- 0.0.0.0/0 3 0 5\nLocal:\n  +-- 0.0.0.0/0 3 0 5\n${leaves.join("")}`;
}

function inet6(machine: Machine): string {
  const own = ["::1", ...machine.facts.addresses.filter((address) => address.includes(":"))];
  return own.map((address, index) => `${expand(address)} ${index === 0 ? "01 80 10 80       lo" : "02 40 00 80     eth1"}\n`).join("");
}

/** Listening sockets (proc(5), /proc/net/tcp): those of the target, and sshd's. Addresses in words of the machine's byte order. */
function sockets(machine: Machine, six: boolean): string {
  const portals = ["0.0.0.0:22", "[::]:22", ...machine.model.listeners.children(machine.name)].filter((portal) => portal.startsWith("[") === six);
  const lines = portals.map((portal, index) => {
    const cut = portal.lastIndexOf(":");
    const text = portal.slice(0, cut).replace(/[[\]]/g, "");
    const bytes = six ? Buffer.from(expand(text), "hex") : Buffer.from(text.split(".").map(Number));
    const address = bytes.swap32().toString("hex").toUpperCase();
    const port = Number(portal.slice(cut + 1)).toString(16).toUpperCase().padStart(4, "0");
    return `${String(index).padStart(4)}: ${address}:${port} ${"0".repeat(address.length)}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${1000 + index} 1 0000000000000000 100 0 0 10 0\n`;
  });
  return `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n${lines.join("")}`;
}

/** `fd00::1` as 32 hexadecimal digits. */
function expand(address: string): string {
  const [head = "", tail] = address.split("::");
  const words = (text: string): string[] => text.split(":").filter(Boolean);
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].map((word) => word.padStart(4, "0")).join("");
}
