import type { Machine } from "../machine.ts";
import type { FreezeDoc } from "../model.ts";

/** A write to a frozen filesystem: it waits, and is tried again. */
export class Frozen extends Error {
  constructor(at: string) {
    super(`frozen: ${at}`);
    this.name = "Frozen";
  }
}

/** A filesystem's freeze on a machine. One whose service has slept to its limit is over. */
export function findFreeze(machine: Machine, content: string): FreezeDoc | undefined {
  const { freezes } = machine.model;
  const found = freezes.get(machine.at(content));
  if (found?.until === undefined || machine.now() < found.until) return found;
  freezes.delete(machine.at(content));
  return undefined;
}

/** Whether some machine has stopped the writers of this content: what a snapshot holds of it is clean. */
export function isFrozenAnywhere(machine: Machine, content: string): boolean {
  return machine.model.store.children("machine").some((name) => findFreeze(machine.peer(name), content) !== undefined);
}

/** The unit of a freeze that is in force, by name. */
export function freezeOfUnit(machine: Machine, unit: string): string | undefined {
  return machine.model.freezes.children(machine.name).find((content) => findFreeze(machine, content)?.unit === unit);
}
