import { createHash, createHmac } from "node:crypto";

const defaultPort = 22;

/** What a known_hosts file says about one host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
export interface KnownKeys {
  /** Key types in the order of the file, for the key exchange: a server shows only one of its keys, of a type we ask for. */
  readonly types: readonly string[];
  check(key: Buffer): "known" | "revoked" | "changed" | "unknown";
}

/**
 * Reads the entries for a host. Plain, wildcard, negated and hashed names count; a port other than 22 is looked up as
 * `[address]:port` only. `@cert-authority` lines are skipped: ssh2 offers no host certificates.
 */
export function knownKeysFor(fileText: string, address: string, port: number): KnownKeys {
  const name = hostPattern(address, port);
  const good: { readonly type: string; readonly key: Buffer }[] = [];
  const revoked: Buffer[] = [];
  for (const line of fileText.split("\n")) {
    const fields = line.trim().split(/[ \t]+/);
    const marker = fields[0]?.startsWith("@") === true ? fields.shift() : undefined;
    const [patterns, type, base64] = fields;
    if (patterns === undefined || type === undefined || base64 === undefined || patterns.startsWith("#")) continue;
    if (!matches(patterns, name)) continue;
    const key = Buffer.from(base64, "base64");
    if (marker === undefined) good.push({ type, key });
    else if (marker === "@revoked") revoked.push(key);
  }
  return {
    types: [...new Set(good.map((entry) => entry.type))],
    check(key) {
      if (revoked.some((entry) => entry.equals(key))) return "revoked";
      if (good.some((entry) => entry.key.equals(key))) return "known";
      return good.length === 0 ? "unknown" : "changed";
    },
  };
}

/** How a host is written in a known_hosts file. */
export function hostPattern(address: string, port: number): string {
  const name = address.toLowerCase();
  return port === defaultPort ? name : `[${name}]:${port}`;
}

/** As `ssh-keygen -l` prints it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type a key blob names itself: a length-prefixed string at its start (RFC 4253, 6.6). */
export function keyType(key: Buffer): string {
  return key.length < 4 ? "" : key.subarray(4, 4 + key.readUInt32BE(0)).toString("latin1");
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith("|")) return matchesHash(patterns, name);
  let found = false;
  for (const entry of patterns.toLowerCase().split(",")) {
    const negated = entry.startsWith("!");
    if (!wildcard(negated ? entry.slice(1) : entry).test(name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** `|1|salt|hash`: HMAC-SHA1 of the name under the salt, both base64 (ssh_config(5), HashKnownHosts). */
function matchesHash(entry: string, name: string): boolean {
  const [, version, salt, hash] = entry.split("|");
  if (version !== "1" || salt === undefined || hash === undefined) return false;
  return createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64") === hash;
}

function wildcard(pattern: string): RegExp {
  const text = pattern.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${text}$`, "s");
}
