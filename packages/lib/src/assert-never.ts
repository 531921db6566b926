import { BugError } from "./errors.ts";

/** The default branch of a switch over a closed union: a new member becomes a compile error. */
export function assertNever(value: never): never {
  throw new BugError(`unexpected value ${JSON.stringify(value)}`);
}
