import "./small-heap.ts";
import { createLogger, runProgram } from "@zfsilo/lib";
import { startAgent } from "./agent.ts";
import { parseAgentConfig } from "./config.ts";

/** The only place that reads the environment. */
runProgram("zfsilo-agent", async () => {
  const { logLevel, ...options } = await parseAgentConfig(process.env, process.argv.slice(2));
  const log = createLogger(logLevel);
  const agent = startAgent({ ...options, log });
  return { log, stop: () => agent.stop() };
});
