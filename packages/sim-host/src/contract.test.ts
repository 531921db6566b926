import { fileContract, sequenceContract, type ContractOptions, type SequenceWords } from "@zfsilo/command/contract";
import { SimWorld } from "./world.ts";

// The process part needs sh, printf and sleep, which a simulated machine does not have.
const simulated: ContractOptions = {
  name: "simulated host",
  make: async () => {
    const world = await SimWorld.open();
    world.addMachine({ name: "give", pools: [{ name: "tank", sizeBytes: 1n << 30n }], missingPrograms: ["zstream"] });
    const executor = world.executor("give");
    return { executor, dir: "/tmp", close: () => executor.close() };
  },
};

const words: SequenceWords = {
  says: () => [
    { argv: ["zfs", "get", "-Hp", "-o", "property,value", "type", "tank"], stdout: "type\tfilesystem\n" },
    { argv: ["zpool", "list", "-Hp", "-o", "name,health"], stdout: "tank\tONLINE\n" },
  ],
  fails: () => ({ argv: ["zfs", "destroy", "tank/none"], exitCode: 1 }),
  makes: (_subject, name) => ["zfs", "create", "-V", "1048576", `tank/${name}`],
  made: async ({ executor }, name) => {
    const { exitCode } = await executor.run(["zfs", "get", "-Hp", "-o", "value", "type", `tank/${name}`], { signal: new AbortController().signal });
    return exitCode === 0;
  },
  missing: ["zstream", "dump"],
};

fileContract(simulated);
sequenceContract(simulated, words);
