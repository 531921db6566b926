import { parseIqn, parsePoolName, parsePortal } from "@zfsilo/host";
import { SimWorld } from "@zfsilo/sim-host";
import type { HostWorld } from "./world.ts";

/** Give and take as simulated machines. */
export async function simulatedWorld(): Promise<HostWorld> {
  const world = await SimWorld.open({});
  const initiatorIqn = parseIqn("iqn.2026-01.io.zfsilo.sim:take");
  world.addMachine({ name: "give", pools: [{ name: "tank", sizeBytes: 8n << 30n }], addresses: ["10.9.0.2"] });
  world.addMachine({ name: "take", addresses: ["10.9.0.3"], initiatorName: initiatorIqn });
  return {
    kind: "simulated",
    target: world.executor("give"),
    initiator: world.executor("take"),
    pool: parsePoolName("tank"),
    portal: parsePortal({ address: "10.9.0.2", port: 3260 }),
    initiatorIqn,
    close: () => world.close(),
  };
}
