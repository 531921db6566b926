import { invalidField } from "@zfsilo/lib";
import { isIP } from "node:net";

declare const lioBrand: unique symbol;

/** An iSCSI name in its normal (lower-case) form. */
export type Iqn = string & { readonly [lioBrand]: "iqn" };

/** Where a target listens. `address` is an IP literal in its shortest form, without brackets or zone. */
export interface Portal {
  readonly address: string & { readonly [lioBrand]: "address" };
  readonly port: number;
}

/** RFC 3720 3.2.6.1: 223 bytes. */
const maxLength = 223;
/** RFC 3722 leaves of ASCII only lower-case letters, digits and `-`, `.`, `:`. */
const iqnPattern = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[a-z0-9.:-]+)?$/;
const otherPattern = /^(?:eui\.[0-9a-f]{16}|naa\.(?:[0-9a-f]{16}|[0-9a-f]{32}))$/;

/** Checks the form; upper-case letters are refused, not folded: LIO takes any name and would treat the two as different. */
export function parseIqn(text: string, field = "iqn"): Iqn {
  if (text.length > maxLength) throw invalidField(field, `longer than ${maxLength} bytes`);
  if (!iqnPattern.test(text) && !otherPattern.test(text)) {
    throw invalidField(
      field,
      `"${text.replace(/[^\x20-\x7e]/g, "?").slice(0, 100)}" is not an iSCSI name`,
      "Write iqn.YYYY-MM.reversed.domain:suffix in lower-case letters, digits, '-', '.' and ':'.",
    );
  }
  return text as Iqn;
}

/** Checks an address and port. A host name is refused: a target portal is an address (and by-path lookups break). */
export function parsePortal(portal: { readonly address: string; readonly port: number }, field = "portal"): Portal {
  const { address, port } = portal;
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw invalidField(`${field}.port`, `${port} is not a port`);
  const family = isIP(address);
  if (family === 0 || address.includes("%")) {
    throw invalidField(`${field}.address`, "is not an IP address", "Use an IPv4 or IPv6 literal, not a host name.");
  }
  // The URL parser writes IPv6 the one short way of RFC 5952, as the kernel prints it too.
  const normal = family === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
  return { address: normal as Portal["address"], port };
}

/** `10.9.0.2:3260`, `[fd00::1]:3260`: how configfs and iscsiadm write it. */
export function formatPortal({ address, port }: Portal): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** Reads what formatPortal wrote; undefined for anything else. */
export function readPortal(text: string): Portal | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  if (match === null || address === undefined || isIP(address) === 0) return undefined;
  return parsePortal({ address, port: Number(match[3]) });
}
