import { LocalExecutor } from "@zfsilo/command";
import { executorContract, streamContract, type ContractOptions } from "@zfsilo/command/contract";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loopback } from "../agent/loopback.ts";

const subject: ContractOptions = {
  name: "AgentExecutor over a stream",
  make: async () => {
    const dir = await mkdtemp(join(tmpdir(), "zfsilo-agent-"));
    const loop = await loopback();
    const local = new LocalExecutor(loop.host);
    const stop = new AbortController();
    const served = loop.serve(local, stop.signal);
    await served.welcomed;
    return {
      executor: loop.executor,
      dir,
      close: async () => {
        await loop.executor.close();
        stop.abort(new Error("the test is over"));
        await served.ended;
        await local.close();
        await loop[Symbol.asyncDispose]();
        await rm(dir, { recursive: true, force: true });
      },
    };
  },
};

executorContract(subject);
streamContract(subject);
