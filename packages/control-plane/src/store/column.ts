import type { ConditionRecord } from "./model.ts";

/** How values stand in columns; the rules are in entities.ts. */

const capacityDigits = 19;

export function capacityColumn(size: bigint): string {
  return size.toString().padStart(capacityDigits, "0");
}

export const boolColumn = (value: boolean): number => (value ? 1 : 0);

/* eslint-disable @typescript-eslint/no-unnecessary-type-parameters --
   T is what the caller wrote into that column, which no type can prove. */

/** The counterpart of JSON.stringify for what we wrote ourselves. */
export function fromJson<T>(text: string): T {
  return JSON.parse(text) as T;
}

export function fromOptionalJson<T>(text: string): T | undefined {
  return text === "" ? undefined : fromJson<T>(text);
}

/* eslint-enable @typescript-eslint/no-unnecessary-type-parameters */

export function optionalJson(value: object | undefined): string {
  return value === undefined ? "" : JSON.stringify(value);
}

export function conditionFrom(text: string): ConditionRecord | undefined {
  const stored = fromOptionalJson<Omit<ConditionRecord, "observedAt"> & { observedAt: string }>(text);
  return stored && { ...stored, observedAt: new Date(stored.observedAt) };
}
