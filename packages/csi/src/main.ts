import "@zfsilo/agent/small-heap";
import { createLogger, runProgram } from "@zfsilo/lib";
import { parseFlags } from "./config.ts";
import { startDriver } from "./driver.ts";

runProgram("zfsilo-csi", async () => {
  const config = parseFlags(process.argv.slice(2));
  const log = createLogger(config["log-level"]);
  const driver = await startDriver(config, log);
  console.log(`zfsilo-csi (${config.mode}) listening on unix://${config.endpoint}`);
  return { log, stop: () => driver.stop() };
});
