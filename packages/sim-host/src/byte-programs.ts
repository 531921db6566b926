import type { Argv, RunResult } from "@zfsilo/command";
import type { Machine } from "./machine.ts";
import { zfsReceive } from "./zfs/receive.ts";
import { sendStream } from "./zfs/send.ts";
import { zstreamDump } from "./zfs/zstream.ts";

/** What a program wrote, and how it ended. */
export interface Output {
  readonly exitCode: number;
  readonly stderr: string;
  readonly pieces: Iterable<Uint8Array>;
}

/** Writes bytes rather than text. A refusal throws before the first piece. */
export type Producer = (machine: Machine, args: readonly string[]) => Iterable<Uint8Array>;
/** Reads bytes rather than text. */
export type Consumer = (machine: Machine, args: readonly string[], input: Iterable<Uint8Array>) => RunResult;
/** Writes while it reads. */
export type Filter = (args: readonly string[], input: Iterable<Uint8Array>) => Iterable<Uint8Array>;

/** By program and subcommand. */
const producers: Readonly<Record<string, Producer>> = { "zfs send": sendStream };
const consumers: Readonly<Record<string, Consumer>> = { "zfs receive": zfsReceive };
const filters: Readonly<Record<string, Filter>> = { "zstream dump": zstreamDump };

export function failedStream(exitCode: number, stderr: string, stdout = ""): Output {
  return { exitCode, stderr, pieces: stdout === "" ? [] : [Buffer.from(stdout, "utf8")] };
}

export function producerOf([program, subcommand = "", ...args]: Argv): ((machine: Machine) => Iterable<Uint8Array>) | undefined {
  const name = `${program} ${subcommand}`;
  const found = Object.hasOwn(producers, name) ? producers[name] : undefined;
  return found === undefined ? undefined : (machine) => found(machine, args);
}

export function consumerOf([program, subcommand = "", ...args]: Argv): ((machine: Machine, input: Iterable<Uint8Array>) => RunResult) | undefined {
  const name = `${program} ${subcommand}`;
  const found = Object.hasOwn(consumers, name) ? consumers[name] : undefined;
  return found === undefined ? undefined : (machine, input) => found(machine, args, input);
}

export function filterOf([program, subcommand = "", ...args]: Argv): ((input: Iterable<Uint8Array>) => Iterable<Uint8Array>) | undefined {
  const name = `${program} ${subcommand}`;
  const found = Object.hasOwn(filters, name) ? filters[name] : undefined;
  return found === undefined ? undefined : (input) => found(args, input);
}
