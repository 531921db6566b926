import type { CallOptions, Executor, FileOperation, FileResult } from "@zfsilo/command";
import { BugError } from "@zfsilo/lib";

export type Files = NonNullable<FileResult["files"]>;

/** The text of a tolerant `read` or `readlink`: undefined when its tolerated failure occurred. */
export function textOf(result: FileResult | undefined): string | undefined {
  if (result === undefined) throw new BugError("fewer file results than operations");
  return result.text;
}

export function filesOf(result: FileResult | undefined): Files {
  if (result === undefined) throw new BugError("fewer file results than operations");
  return result.files ?? [];
}

export function entriesOf(result: FileResult | undefined): readonly string[] | undefined {
  if (result === undefined) throw new BugError("fewer file results than operations");
  return result.entries;
}

/** Performs a batch given by name and returns the results by the same names. Order is that of the object's keys. */
export async function namedFiles<K extends string>(
  executor: Executor,
  operations: Readonly<Record<K, FileOperation>>,
  o: CallOptions,
): Promise<Readonly<Record<K, FileResult>>> {
  const names = Object.keys(operations) as K[];
  const results = await executor.files(
    names.map((name) => operations[name]),
    o,
  );
  const named = {} as Record<K, FileResult>;
  names.forEach((name, index) => {
    const result = results[index];
    if (result === undefined) throw new BugError("fewer file results than operations");
    named[name] = result;
  });
  return named;
}
