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
 * - `p` is the producer's exit and `c` the consumer's.
 */
const script = [
  "n=$1; shift",
  "exec 4<&0 </dev/null",
  "{ while read -r _; do :; done; kill -s TERM 0; } <&4 >/dev/null 2>&1 & w=$!",
  "exec 4<&-",
  'first() { c=$n; while [ $c -gt 0 ]; do set -- "$@" "$1"; shift; c=$((c-1)); done; shift $(($#-n)); (exec "$@"); }',
  "exec 5>&1",
  'p=$({ { first "$@" 3>&- 5>&-; echo $? >&3; } | { shift "$n"; "$@" 3>&- >&5 5>&-; }; } 3>&1)',
  "c=$?",
  "{ kill $w; wait $w; } 2>/dev/null",
].join("\n");

/** The producer's exit goes to standard error on a line of its own, the consumer's is the script's. */
const tellBoth = `printf '\\n${marker}%s\\n' "$p" >&2; exit $c`;

/** Success is that of both. Without a producer's exit there was no pipe. */
const tellWorst = "if [ $c -eq 0 ]; then c=${p:-255}; fi; exit $c";

/** What runs `producer | consumer`. Its standard input must stay open until it exits. */
export function pipeArgv(producer: Argv, consumer: Argv): Argv {
  return scriptArgv(tellBoth, producer, consumer);
}

/** The same for a pipe whose output is streamed. */
export function streamArgv(producer: Argv, consumer: Argv): Argv {
  return scriptArgv(tellWorst, producer, consumer);
}

function scriptArgv(end: string, producer: Argv, consumer: Argv): Argv {
  return ["sh", "-c", `${script}\n${end}`, "sh", String(producer.length), ...producer, ...consumer];
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
