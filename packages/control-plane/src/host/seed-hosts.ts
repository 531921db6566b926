import { parseHostId } from "@zfsilo/lib";
import type { ConfiguredHost } from "../config.ts";
import type { HostStore } from "../store/stores.ts";
import { checkHostSpec } from "./host-spec.ts";

const nothing = { displayName: "", labels: {}, pools: [], portals: [], initiatorIqn: "", allowedRoots: [] } as const;
const simulated = { kind: "simulated" } as const;

/** What a first start without any configuration works with. The addresses are those of no real network. */
const simulatedPair: readonly ConfiguredHost[] = [
  {
    ...nothing,
    id: "hst_give",
    displayName: "simulated storage host",
    roles: ["target"],
    connection: simulated,
    pools: [{ name: "tank", parentDataset: "" }],
    portals: [{ address: "192.0.2.1", port: 3260 }],
  },
  { ...nothing, id: "hst_take", displayName: "simulated initiator", roles: ["initiator"], connection: simulated },
];

/**
 * Makes the configured hosts known that are not yet; those that are, are the API's to change. When the configuration says
 * nothing about hosts and none is known, a simulated pair is made.
 */
export async function seedHosts(hosts: HostStore, configured: readonly ConfiguredHost[] | undefined): Promise<void> {
  const known = await hosts.all();
  const now = new Date();
  for (const { id, ...spec } of configured ?? (known.length === 0 ? simulatedPair : [])) {
    if (known.some((host) => host.id === id)) continue;
    const checked = checkHostSpec(spec, (field) => `${id}.${field}`);
    await hosts.insert({ id: parseHostId(id), ...checked, condition: undefined, revision: 1, createdAt: now, updatedAt: now });
  }
}
