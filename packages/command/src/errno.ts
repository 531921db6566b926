import { constants } from "node:os";
import type { Errno } from "./executor.ts";

/** One number can have two names; the one Node itself reports is listed here. */
const preferred: Readonly<Record<number, Errno>> = {
  [constants.errno.EAGAIN]: "EAGAIN",
  [constants.errno.EOPNOTSUPP]: "ENOTSUP",
};

const nameByNumber = new Map<number, Errno>([
  ...Object.entries(constants.errno).map(([name, number]): [number, Errno] => [number, name]),
  ...Object.entries(preferred).map(([number, name]): [number, Errno] => [Number(number), name]),
]);

/** `17` -> `EEXIST`. Numbers outside the C library's table keep their number: LIO leaks ERESTARTSYS as `E512`. */
export function errnoName(number: number): Errno {
  return nameByNumber.get(number) ?? `E${number}`;
}

/** The reverse of errnoName; undefined for a name that no Linux knows. */
export function errnoNumber(name: Errno): number | undefined {
  const known = (constants.errno as Readonly<Record<string, number>>)[name];
  if (known !== undefined) return known;
  return /^E\d{1,4}$/.test(name) ? Number(name.slice(1)) : undefined;
}

/**
 * The errno of a failed Node file call. Taken by number, because Node has no name for what libuv does not know:
 * for 512 its code is "Unknown system error -512".
 */
export function errnoOf(error: unknown): Errno | undefined {
  if (!(error instanceof Error) || !("errno" in error) || typeof error.errno !== "number") return undefined;
  return errnoName(Math.abs(error.errno));
}
