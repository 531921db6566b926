import type { RunResult } from "@zfsilo/command";
import { UnmodelledError } from "./failure.ts";
import type { Machine } from "./machine.ts";

/** A simulated tool: acts on the machine and answers as the real one would. */
export type Program = (machine: Machine, args: readonly string[], stdin: string) => RunResult;

export function done(stdout = "", stderr = ""): RunResult {
  return { exitCode: 0, stdout, stderr };
}

export function failed(exitCode: number, stderr: string, stdout = ""): RunResult {
  return { exitCode, stdout, stderr: stderr === "" ? "" : `${stderr}\n` };
}

/** Ends a tool from anywhere inside it. */
export class ToolFailure extends Error {
  readonly exitCode: number;
  readonly stdout: string;

  constructor(exitCode: number, stderr: string, stdout = "") {
    super(stderr);
    this.name = "ToolFailure";
    this.exitCode = exitCode;
    this.stdout = stdout;
  }
}

export interface Options {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly rest: readonly string[];
}

/**
 * getopt(3) for the options that are modelled: `flags` stand alone, `values` take one. Short flags may be joined (`-Hp`) and a
 * short option's value may follow at once (`-d1`); long ones take `--name=value` or the next word. Anything else is unmodelled.
 */
export function parseOptions(
  program: string,
  args: readonly string[],
  spec: { readonly flags?: readonly string[]; readonly values?: readonly string[] },
): Options {
  const flags = new Set<string>();
  const values = new Map<string, string[]>();
  const rest: string[] = [];
  const words = [...args];
  const unknown = (word: string): UnmodelledError => new UnmodelledError(`${program} ${word} (in: ${args.join(" ")})`);
  const take = (name: string, given: string | undefined): void => {
    const value = given ?? words.shift();
    if (value === undefined) throw unknown(`${name} without a value`);
    values.set(name, [...(values.get(name) ?? []), value]);
  };
  const takeShort = (word: string): void => {
    for (let i = 1; i < word.length; i += 1) {
      const name = `-${word.charAt(i)}`;
      if (spec.values?.includes(name) === true) {
        take(name, i + 1 < word.length ? word.slice(i + 1) : undefined);
        return;
      }
      if (spec.flags?.includes(name) !== true) throw unknown(name);
      flags.add(name);
    }
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--") return { flags, values, rest: [...rest, ...words] };
    const [long = "", ...assigned] = word.split("=");
    if (spec.flags?.includes(word) === true) flags.add(word);
    else if (word.startsWith("--") && spec.values?.includes(long) === true) {
      take(long, assigned.length === 0 ? undefined : assigned.join("="));
    } else if (word.startsWith("--")) throw unknown(word);
    else if (word.startsWith("-") && word.length > 1) takeShort(word);
    else rest.push(word);
  }
  return { flags, values, rest };
}

/** The only value of an option; given twice, the last counts. */
export function lastValue(options: Options, name: string): string | undefined {
  return options.values.get(name)?.at(-1);
}
