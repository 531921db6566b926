import { pino, type DestinationStream, type Logger } from "pino";
import { errorChain, StorageError } from "./errors.ts";
import { standardError } from "./log-output.ts";

export type { Logger } from "pino";

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** JSON lines. Keys that may hold a credential are dropped wherever they stand, as a second fence behind `Secret`. */
export function createLogger(level: LogLevel, destination: DestinationStream = standardError): Logger {
  const hidden = ["authorization", "password", "secret", "token", "privateKey", "passphrase"];
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: hidden.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: "[secret]" },
      serializers: { err: describeError },
    },
    destination,
  );
}

/** A failure as one log field: its reason and the whole chain of causes; a stack only for what is not ours. */
function describeError(error: unknown): object {
  if (error instanceof StorageError) {
    return { reason: error.reason, chain: errorChain(error), ...error.details };
  }
  return { reason: "internal", chain: errorChain(error), stack: error instanceof Error ? error.stack : undefined };
}
