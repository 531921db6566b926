import { createLogger, errorChain, StorageError } from "@zfsilo/lib";
import { parseFlags } from "./config.ts";
import { startDriver } from "./driver.ts";

async function main(): Promise<void> {
  const config = parseFlags(process.argv.slice(2));
  const log = createLogger(config["log-level"]);
  const driver = await startDriver(config, log);
  console.log(`zfsilo-csi (${config.mode}) listening on unix://${config.endpoint}`);

  const stop = (signal: string): void => {
    log.info({ signal }, "stopping");
    driver.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "stopping failed");
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main().catch((error: unknown) => {
  console.error(`zfsilo-csi cannot start: ${errorChain(error)}`);
  if (error instanceof StorageError && error.hint !== undefined) console.error(error.hint);
  process.exit(1);
});
