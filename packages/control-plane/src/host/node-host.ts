import { parseHostId, type HostId } from "@zfsilo/lib";
import { createHash } from "node:crypto";

const hashDigits = 10;
const longestPrefix = 63 - hashDigits - 1;

/**
 * The host of a node: its own name where that is a resource id. Other names (`ip-10-0-0-1.eu.example`, which has dots, or
 * `10-0-0-1`, which begins with a digit) are brought into the form and end in a hash of the whole name, so that no two
 * nodes meet in one host.
 */
export function hostIdOfNode(nodeName: string): HostId {
  if (/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(nodeName)) return parseHostId(nodeName);
  const plain = nodeName.toLowerCase().replaceAll(/[^a-z0-9-]/g, "-");
  const prefix = (/^[a-z]/.test(plain) ? plain : `n-${plain}`).slice(0, longestPrefix).replace(/-+$/, "");
  const hash = createHash("sha256").update(nodeName).digest("hex").slice(0, hashDigits);
  return parseHostId(`${prefix}_${hash}`);
}

/**
 * `*` stands for any run of characters, everything else for itself. On a mismatch only the last `*` takes in one character more,
 * which is enough: what stands before it has matched as early as it can. No pattern takes longer than its length times the name's.
 */
export function nodeNameMatches(pattern: string, nodeName: string): boolean {
  let at = 0;
  let name = 0;
  let star = -1;
  let taken = 0;
  while (name < nodeName.length) {
    if (pattern[at] === "*") {
      star = at;
      taken = name;
      at += 1;
    } else if (pattern[at] === nodeName[name]) {
      at += 1;
      name += 1;
    } else if (star >= 0) {
      at = star + 1;
      taken += 1;
      name = taken;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at += 1;
  return at === pattern.length;
}
