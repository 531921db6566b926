import { createLogger, errorChain, StorageError } from "@zfsilo/lib";
import { startAgent } from "./agent.ts";
import { parseAgentConfig } from "./config.ts";

/** The only place that reads the environment. */
async function main(): Promise<void> {
  const { logLevel, ...options } = await parseAgentConfig(process.env, process.argv.slice(2));
  const log = createLogger(logLevel);
  const agent = startAgent({ ...options, log });
  const stop = (signal: string): void => {
    log.info({ signal }, "stopping");
    agent.stop().then(
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
  console.error(`zfsilo-agent cannot start: ${errorChain(error)}`);
  if (error instanceof StorageError && error.hint !== undefined) console.error(error.hint);
  process.exit(1);
});
