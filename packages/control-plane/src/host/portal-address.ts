import { BlockList, isIPv6 } from "node:net";

function ranges(...subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of subnets) list.addSubnet(network, prefix, isIPv6(network) ? "ipv6" : "ipv4");
  return list;
}

const kinds = [
  // RFC 1122 3.2.1.3 and RFC 4291 2.5.2: "this host". A target may listen there, and nobody can log in at it.
  [ranges(["0.0.0.0", 8], ["::", 128]), "stands for every address of the host"],
  [ranges(["224.0.0.0", 4], ["ff00::", 8]), "is a multicast address"],
  [ranges(["240.0.0.0", 4]), "is a reserved or broadcast address"],
  // RFC 4291 2.5.6: without the interface it says nothing, and another machine's interfaces have other names.
  [ranges(["fe80::", 10]), "is link-local, which is no address without an interface"],
] as const;
const loopback = ranges(["127.0.0.0", 8], ["::1", 128]);

/** Why initiators cannot use an address, or undefined. `ownInitiators`: they may run on the same machine. */
export function unusableAddress(address: string, ownInitiators: boolean): string | undefined {
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  // Before the lists, which look at such an address as the IPv4 one that it stands for.
  if (address.startsWith("::ffff:")) return "is an IPv4 address written as IPv6";
  const found = kinds.find(([list]) => list.check(address, family));
  if (found !== undefined) return found[1];
  return loopback.check(address, family) && !ownInitiators ? "is a loopback address, and this host has no initiator" : undefined;
}
