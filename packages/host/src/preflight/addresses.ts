/**
 * The IPv4 addresses of the host, from /proc/net/fib_trie: an address line `|-- 10.9.0.2` whose next line says
 * `/32 host LOCAL` (net/ipv4/fib_trie.c).
 */
export function parseFibTrie(text: string): Set<string> {
  const found = new Set<string>();
  let address: string | undefined;
  for (const line of text.split("\n")) {
    const leaf = /\|-- (\d+\.\d+\.\d+\.\d+)$/.exec(line)?.[1];
    if (leaf !== undefined) address = leaf;
    else if (address !== undefined && /\/32 host LOCAL$/.test(line)) found.add(address);
  }
  return found;
}

/** The IPv6 addresses, from /proc/net/if_inet6: 32 hex digits first in each line (net/ipv6/addrconf.c). */
export function parseIfInet6(text: string): Set<string> {
  const found = new Set<string>();
  for (const line of text.split("\n")) {
    const digits = /^[0-9a-f]{32}(?= )/.exec(line)?.[0];
    if (digits === undefined) continue;
    const long = digits.match(/.{4}/g)?.join(":") ?? "";
    found.add(new URL(`http://[${long}]`).hostname.slice(1, -1));
  }
  return found;
}
