import { fileContract } from "@zfsilo/command/contract";
import { SimWorld } from "./world.ts";

// The process part needs sh, printf and sleep, which a simulated machine does not have.
fileContract({
  name: "simulated host",
  make: async () => {
    const world = await SimWorld.open();
    world.addMachine({ name: "give" });
    const executor = world.executor("give");
    return { executor, dir: "/tmp", close: () => executor.close() };
  },
});
