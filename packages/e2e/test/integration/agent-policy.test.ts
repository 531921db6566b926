import { defaultAllowedRoots, GuardedExecutor } from "@zfsilo/agent";
import type { Executor } from "@zfsilo/command";
import { createLogger } from "@zfsilo/lib";
import { simulatedWorld } from "../../src/host-contract/simulated.ts";
import { hostContract } from "../../src/host-contract/suite.ts";

// Whatever the wrappers ask of a host, an agent's policy has to let through: a wrapper that changes meets its closed list here.
hostContract("simulated machines behind an agent's policy", async () => {
  const world = await simulatedWorld();
  const guarded = (executor: Executor): Executor => new GuardedExecutor(executor, { allowedRoots: defaultAllowedRoots, log: createLogger("silent") });
  const byHand = { target: world.target, initiator: world.initiator };
  return { ...world, byHand, target: guarded(world.target), initiator: guarded(world.initiator) };
});
