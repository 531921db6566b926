import { CommandError } from "./command-error.ts";
import type { Argv } from "./executor.ts";

/** A NUL ends an argument for the kernel, so a program would see less than we meant. */
export function checkArgv(host: string, argv: Argv): void {
  if (!argv.some((argument) => argument.includes("\0"))) return;
  throw new CommandError("invalid_argument", host, argv, "not_started", new Error("an argument holds a NUL character"));
}

export function missingProgramHint(host: string, argv: Argv): string {
  return `Install ${argv[0]} on ${host}, executable and in one of the system directories.`;
}
