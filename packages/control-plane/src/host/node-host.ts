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

/** `*` stands for any run of characters, everything else for itself. */
export function nodeNameMatches(pattern: string, nodeName: string): boolean {
  const parts = pattern.split("*").map((part) => part.replaceAll(/[\\^$.|?+()[\]{}/-]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s").test(nodeName);
}
