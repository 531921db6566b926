import type { FileOperation } from "@zfsilo/command";
import { backstorePath } from "./paths.ts";

/**
 * How new an export is, kept in the backstore's `alias`: free text that can be written at any time and that no initiator sees
 * (target_core_configfs.c, target_dev_alias_store; up to 511 bytes). It goes with the backstore.
 */
const alias = /^zfsilo generation (\d{1,15})$/;

export function generationPath(handle: string): string {
  return `${backstorePath(handle)}/alias`;
}

/** Before what changes access in the same batch: a batch that is cut off leaves the host newer than it is, never older. */
export function generationWrite(handle: string, generation: number): FileOperation {
  return { op: "write", path: generationPath(handle), content: `zfsilo generation ${generation}` };
}

/** Undefined for an alias that is not ours, and for none. */
export function readGeneration(text: string | undefined): number | undefined {
  const digits = alias.exec(text?.trim() ?? "")?.[1];
  return digits === undefined ? undefined : Number(digits);
}
