import { CommandError } from "./command-error.ts";
import type { Argv, PipeResult, RunResult } from "./executor.ts";

const marker = "zfsilo:producer=";

/**
 * Fixed text: the programs and their arguments meet it as positional parameters and are never read as shell. `$1` tells how
 * many of the others are the producer's.
 *
 * - Standard input is a leash: it stays open as long as somebody waits for the result. At its end the loop ends the whole
 *   process group, itself included.
 * - `first` turns the producer's words to the end and drops those before them, as sh has one list of arguments alone.
 * - The producer is a process of its own also where sh has a builtin of its name: a broken pipe must not end who tells of it.
 * - The producer's exit goes to standard error on a line of its own, the consumer's is the script's.
 */
const script = [
  "n=$1; shift",
  "exec 4<&0 </dev/null",
  "{ while read -r _; do :; done; kill -s TERM 0; } <&4 >/dev/null 2>&1 & w=$!",
  "exec 4<&-",
  'first() { c=$n; while [ $c -gt 0 ]; do set -- "$@" "$1"; shift; c=$((c-1)); done; shift $(($#-n)); (exec "$@"); }',
  `{ { first "$@" 3>&-; printf '\\n${marker}%d\\n' $? >&3; } | { shift "$n"; "$@" 3>&-; }; } 3>&2`,
  "c=$?",
  "{ kill $w; wait $w; } 2>/dev/null",
  "exit $c",
].join("\n");

/** What runs `producer | consumer`. Its standard input must stay open until it exits. */
export function pipeArgv(producer: Argv, consumer: Argv): Argv {
  return ["sh", "-c", script, "sh", String(producer.length), ...producer, ...consumer];
}

/** How the pipe is called in errors and recordings. */
export function shownPipe(producer: Argv, consumer: Argv): Argv {
  return [...producer, "|", ...consumer];
}

export function parsePipeResult(host: string, shown: Argv, { exitCode, stdout, stderr }: RunResult): PipeResult {
  const found = [...stderr.matchAll(new RegExp(`\\n${marker}(\\d+)\\n`, "g"))].at(-1);
  if (found === undefined) {
    throw new CommandError("internal", host, shown, "unknown", new Error(`the shell exited with ${exitCode} and told nothing of the producer`));
  }
  const { index, 0: line } = found;
  return {
    producerExitCode: Number(found[1]),
    consumerExitCode: exitCode,
    stdout,
    stderr: stderr.slice(0, index) + stderr.slice(index + line.length),
  };
}

/** An error of the script, as one of the pipe it stands for. */
export function pipeError(error: unknown, host: string, shown: Argv): unknown {
  if (!(error instanceof CommandError)) return error;
  return new CommandError(error.reason, host, shown, error.outcome, error.cause, error.hint);
}
