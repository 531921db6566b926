import { startAgentOn } from "../../src/agent/agents.ts";
import { makeProgramDisk } from "../../src/agent/programs.ts";
import { realHosts } from "../../src/api/real-hosts.ts";
import { give, take } from "../../src/api/real-world.ts";
import { startSystem } from "../../src/api/system.ts";
import { giveAndTake } from "../../src/host-contract/give-take.ts";
import { hostContract } from "../../src/host-contract/suite.ts";

hostContract("give and take through their agents", async () => {
  const world = await giveAndTake("contract-agent");
  const { machines } = world;
  const disk = await makeProgramDisk();
  const system = await startSystem({ hosts: realHosts(machines, "agent") });
  await Promise.all([disk.plugInto(machines.give), disk.plugInto(machines.take)]);
  const agents = await Promise.all([startAgentOn(machines.give, give, system), startAgentOn(machines.take, take, system)]);
  return {
    ...world,
    byHand: { target: world.target, initiator: world.initiator },
    target: await system.controlPlane.executor("hst_give"),
    initiator: await system.controlPlane.executor("hst_take"),
    close: async () => {
      await system.stop();
      await Promise.all(agents.map((agent) => agent.cut()));
      await world.close();
      await disk.remove();
    },
  };
});
