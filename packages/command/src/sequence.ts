import { checkArgv } from "./argv.ts";
import { defaultTimeoutMs } from "./call-limit.ts";
import { CommandError } from "./command-error.ts";
import type { Argv, Gate, RunOptions, RunResult, Sequence } from "./executor.ts";
import { defaultMaxOutputBytes } from "./process-watch.ts";

/** How a sequence is called in errors and recordings. */
export function shownSequence([first, ...others]: Sequence): Argv {
  return [...first.argv, ...others.flatMap(({ argv }) => ["&&", ...argv])];
}

/** Whether the command after this one may run. */
export function passes({ exitCode, stdout }: RunResult, gate: Gate | undefined): boolean {
  if (exitCode !== 0) return false;
  if (gate === undefined) return true;
  return "equals" in gate ? stdout === gate.equals : gate.without.every((text) => !stdout.includes(text));
}

/** What goes to the host as text must be whole there (argv.ts). */
export function checkSequence(host: string, commands: Sequence): void {
  for (const { argv, gate } of commands) {
    checkArgv(host, argv);
    if (gate !== undefined) checkArgv(host, [argv[0], ...("equals" in gate ? [gate.equals] : gate.without)]);
  }
}

/** An error of one command, as one of the sequence: where it is not the first, those before it have happened. */
export function sequenceError(error: unknown, host: string, commands: Sequence, index: number): unknown {
  if (!(error instanceof CommandError)) return error;
  const outcome = index === 0 ? error.outcome : "unknown";
  return new CommandError(error.reason, host, shownSequence(commands), outcome, error.cause, error.hint);
}

/** A sequence where running a command costs little: one after the other, within the limits of the whole. */
export async function inTurn(
  host: string,
  commands: Sequence,
  options: RunOptions,
  run: (argv: Argv, options: RunOptions) => Promise<RunResult>,
): Promise<readonly RunResult[]> {
  const { stdin, timeoutMs = defaultTimeoutMs, maxOutputBytes = defaultMaxOutputBytes, signal } = options;
  checkSequence(host, commands);
  const began = performance.now();
  const results: RunResult[] = [];
  let left = maxOutputBytes;
  for (const [index, { argv, gate }] of commands.entries()) {
    const limits = { signal, timeoutMs: Math.max(1, Math.ceil(timeoutMs - (performance.now() - began))), maxOutputBytes: left };
    let result: RunResult;
    try {
      result = await run(argv, { ...limits, ...(index === 0 && stdin !== undefined && { stdin }) });
    } catch (error) {
      throw sequenceError(error, host, commands, index);
    }
    results.push(result);
    if (!passes(result, gate)) break;
    left = Math.max(0, left - Math.max(Buffer.byteLength(result.stdout), Buffer.byteLength(result.stderr)));
  }
  return results;
}
