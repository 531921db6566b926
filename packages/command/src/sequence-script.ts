import { randomBytes } from "node:crypto";
import { missingProgramHint } from "./argv.ts";
import { CommandError } from "./command-error.ts";
import type { Argv, Gate, RunResult, Sequence } from "./executor.ts";
import { findProgram } from "./quote.ts";
import { passes, shownSequence } from "./sequence.ts";

/** What no output can hold by chance, or by what a volume is called. */
const newMark = (): string => `zfsilo:${randomBytes(12).toString("hex")}`;

/** Room for the marks beside what the programs print. */
export const markBytes = 128;

export interface SequenceScript {
  readonly argv: Argv;
  readonly mark: string;
}

/**
 * What runs a sequence in one exec. The text is made of numbers alone: programs, arguments and gates meet it as positional
 * parameters and are never read as shell.
 *
 * - After each command a line with the mark goes to both outputs, with its exit on standard output; `-` is a missing program.
 * - A program is never a builtin of its name.
 * - Standard input is the first one's.
 */
export function sequenceScript(commands: Sequence): SequenceScript {
  const mark = newMark();
  const words: string[] = [mark];
  const lines = [
    `find() { ${findProgram}; [ -f "$p" ] && [ -x "$p" ]; }`,
    `ran() { printf '\\n%s %s\\n' "$m" "$1"; printf '\\n%s\\n' "$m" >&2; }`,
    "m=$1",
  ];
  const place = (word: string): string => `"\${${words.push(word)}}"`;
  for (const [index, { argv, gate }] of commands.entries()) {
    const program = argv.map(place).join(" ");
    lines.push(
      `find ${program} || { ran -; exit 0; }`,
      gate === undefined ? `(exec ${program}); c=$?` : `o=$( (exec ${program}); c=$?; echo .; exit $c); c=$?; o=\${o%.}; printf %s "$o"`,
      "ran $c; [ $c -eq 0 ] || exit 0",
      ...stopUnless(gate, place),
      ...(index === 0 ? ["exec </dev/null"] : []),
    );
  }
  return { mark, argv: ["sh", "-c", `${lines.join("\n")}\nexit 0`, "sh", ...words] };
}

function stopUnless(gate: Gate | undefined, place: (word: string) => string): string[] {
  if (gate === undefined) return [];
  if ("equals" in gate) return [`[ "$o" = ${place(gate.equals)} ] || exit 0`];
  return gate.without.map((text) => `case $o in *${place(text)}*) exit 0;; esac`);
}

/** The results of those that ran. Throws when a program is missing, and when the shell ended before it should have. */
export function parseSequence(host: string, commands: Sequence, { mark }: SequenceScript, output: RunResult): readonly RunResult[] {
  const stdout = output.stdout.split(new RegExp(`\\n${mark} (\\d+|-)\\n`));
  const stderr = output.stderr.split(`\n${mark}\n`);
  const results: RunResult[] = [];
  for (const [index, { argv }] of commands.entries()) {
    const exit = stdout[2 * index + 1];
    if (exit === undefined) break;
    if (exit === "-") {
      const outcome = index === 0 ? "not_started" : "unknown";
      throw new CommandError("precondition", host, shownSequence(commands), outcome, new Error(`no such program: ${argv[0]}`), missingProgramHint(host, argv));
    }
    results.push({ exitCode: Number(exit), stdout: stdout[2 * index] ?? "", stderr: stderr[index] ?? "" });
  }
  const last = results.at(-1);
  const next = commands[results.length];
  if (last !== undefined && (next === undefined || !passes(last, commands[results.length - 1]?.gate))) return results;
  throw new CommandError("internal", host, shownSequence(commands), "unknown", new Error(`the shell exited with ${output.exitCode} after ${results.length} of ${commands.length} commands`));
}
