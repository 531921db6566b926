import type { FaultEffect, SimWorld } from "@zfsilo/sim-host";
import { setTimeout as sleep } from "node:timers/promises";

const effects: readonly FaultEffect[] = [
  { kind: "fail" },
  { kind: "drop-before" },
  { kind: "drop-after" },
  { kind: "delay", ms: 20 },
  { kind: "garbage", stdout: "nonsense", exitCode: 0 },
];
const machines = ["give", "take", "tap"] as const;

function any<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)]!;
}

/** A fault every 50 ms on average, now and then a machine off the network for a moment or without power. */
export async function makeTrouble(world: SimWorld, until: () => boolean): Promise<void> {
  while (until()) {
    await sleep(Math.random() * 100);
    const dice = Math.random();
    const host = any(machines);
    if (dice < 0.9) world.faults.add({ host, match: {}, nth: 1 + Math.floor(Math.random() * 10), effect: any(effects) });
    else if (dice < 0.97) {
      world.setOnline(host, false);
      await sleep(50);
      world.setOnline(host, true);
    } else world.powerCycle(host);
    // Faults that nothing has met are dropped, or they would pile up on idle machines.
    if (dice < 0.1) world.faults.clear();
  }
}
