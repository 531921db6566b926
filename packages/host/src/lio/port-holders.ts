import type { FileOperation, FileResult } from "@zfsilo/command";
import { filesOf, textOf } from "../file-results.ts";
import { formatPortal, readPortal, type Portal } from "./names.ts";
import { iscsiRoot } from "./paths.ts";

/** Who listens where another portal is wanted. Without `target` it is a program, not the kernel's target. */
export interface PortHolder {
  readonly portal: Portal;
  readonly target?: string;
}

const allPortals: FileOperation = { op: "read-glob", path: `${iscsiRoot}/*/tpgt_*/np/*/iser` };

/**
 * Every portal of every target, whoever made it, and every listening socket. Grows with both: read in a check and after a failure
 * only. Portals are read before and after: one that comes or goes meanwhile is no program.
 */
export const portReads: Readonly<Record<PortRead, FileOperation>> = {
  portalsBefore: allPortals,
  tcp: { op: "read", path: "/proc/net/tcp", maxBytes: 16 << 20, tolerate: ["ENOENT"] },
  tcp6: { op: "read", path: "/proc/net/tcp6", maxBytes: 16 << 20, tolerate: ["ENOENT"] },
  portalsAfter: allPortals,
};

type PortRead = "portalsBefore" | "tcp" | "tcp6" | "portalsAfter";

export type PortFiles = Readonly<Record<PortRead, FileResult>>;

/**
 * Who keeps the target from listening at `portal`, from the results of portReads. Targets share a portal of the same address and
 * port (iscsit_get_np, iscsi_target.c); an address beside a wildcard with the same port cannot be bound.
 */
export function holdersOf(portal: Portal, { portalsBefore, tcp, tcp6, portalsAfter }: PortFiles): PortHolder[] {
  const targets = readPortals(portalsAfter);
  const served = new Set([...readPortals(portalsBefore), ...targets].map((holder) => formatPortal(holder.portal)));
  const programs = [...listeners(textOf(tcp) ?? ""), ...listeners(textOf(tcp6) ?? "")]
    .filter((at) => !served.has(formatPortal(at)))
    .map((at): PortHolder => ({ portal: at }));
  return [
    ...targets.filter((holder) => !same(holder.portal, portal) && clash(holder.portal, portal)),
    ...programs.filter((holder) => same(holder.portal, portal) || clash(holder.portal, portal)),
  ];
}

function readPortals(portals: FileResult | undefined): PortHolder[] {
  return filesOf(portals).flatMap(([path]): PortHolder[] => {
    const match = /\/iscsi\/([^/]+)\/tpgt_\d+\/np\/([^/]+)\/iser$/.exec(path);
    const at = readPortal(match?.[2] ?? "");
    return match?.[1] === undefined || at === undefined ? [] : [{ portal: at, target: match[1] }];
  });
}

/** `target iqn.2003-01.x:y serves 0.0.0.0:3260` */
export function describeHolder({ portal, target }: PortHolder): string {
  return target === undefined ? `a program listens at ${formatPortal(portal)}` : `target ${target} serves ${formatPortal(portal)}`;
}

export function holderRemedy({ portal, target }: PortHolder): string {
  const other = "or give the host another port in `portals`.";
  if (target === undefined) return `\`ss -ltnp sport = :${portal.port}\` on the host names the program. End it, ${other}`;
  const path = `/iscsi/${target}/tpg1/portals`;
  return (
    `Give that target an address of its own: \`targetcli ${path} create ADDRESS ${portal.port}\` after ` +
    `\`targetcli ${path} delete ${formatAddress(portal)} ${portal.port}\`, ${other}`
  );
}

function formatAddress({ address }: Portal): string {
  return address.includes(":") ? `[${address}]` : address;
}

const wildcards: readonly string[] = ["0.0.0.0", "::"];

function same(a: Portal, b: Portal): boolean {
  return a.address === b.address && a.port === b.port;
}

/** `::` takes IPv4 as well, as long as net.ipv6.bindv6only is off, which it is unless somebody set it. */
function clash(a: Portal, b: Portal): boolean {
  if (a.port !== b.port || same(a, b)) return false;
  if (a.address === "::" || b.address === "::") return true;
  const family = a.address.includes(":") === b.address.includes(":");
  return family && (wildcards.includes(a.address) || wildcards.includes(b.address));
}

/**
 * The listening sockets of /proc/net/tcp or tcp6 (proc(5)): `   0: 0200090A:0CBC 00000000:0000 0A …`. Addresses are words of
 * 32 bits in the order of the machine, which is little-endian wherever ZFS is packaged; state 0A is LISTEN.
 */
function listeners(text: string): Portal[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) return [];
    const bytes = (match[1].match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, "hex")].reverse());
    const address = bytes.length === 4 ? bytes.join(".") : `[${Buffer.from(bytes).toString("hex").match(/.{4}/g)?.join(":") ?? ""}]`;
    return readPortal(`${address}:${parseInt(match[2], 16)}`) ?? [];
  });
}
