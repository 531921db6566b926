import { errorChain, StorageError } from "./errors.ts";
import type { Logger } from "./log.ts";

/** What was started, as far as its process has to know. */
export interface Program {
  readonly log: Logger;
  stop(): Promise<void>;
  /** Default: for as long as that takes. At the limit the process ends whatever still runs. */
  readonly stopLimitMs?: number;
}

/**
 * Runs a service as its process: SIGTERM and SIGINT stop it, and what keeps it from starting is told on stderr, with what to do
 * about it, before it exits 1.
 */
export function runProgram(name: string, start: () => Promise<Program>): void {
  start().then(stopOnSignal, (error: unknown) => {
    console.error(`${name} cannot start: ${errorChain(error)}`);
    if (error instanceof StorageError && error.hint !== undefined) console.error(error.hint);
    process.exit(1);
  });
}

function stopOnSignal(program: Program): void {
  const { log, stopLimitMs } = program;
  const stop = (signal: string): void => {
    log.info({ signal }, "stopping");
    if (stopLimitMs !== undefined) {
      setTimeout(() => {
        log.warn("not everything ended in time; the next start takes it up");
        process.exit(0);
      }, stopLimitMs).unref();
    }
    program.stop().then(
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
