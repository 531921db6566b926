import type { Argv, CallOptions, Executor, RunOptions, RunResult, Sequence } from "@zfsilo/command";
import { StorageError, type Reason } from "@zfsilo/lib";

/** One row of a tool's failure table. The first row whose exit code (when given) and pattern match decides. */
export interface StderrRule {
  readonly exitCode?: number;
  /** Tried on stderr, and on stdout when that is where the tool complains. */
  readonly pattern: RegExp;
  readonly reason: Reason;
  readonly hint?: string;
}

/** What we were doing, for errors: a verb phrase with its subject, e.g. `create volume tank/z1`. */
export type Doing = string;

/** How much of a tool's complaint an error carries. */
const excerptLength = 1024;

/** The failure of a tool that ran to its end. What no rule knows is `internal`: nothing is ever read out of an unknown text. */
export function toolFailure(
  host: string,
  doing: Doing,
  argv: Argv,
  result: RunResult,
  rules: readonly StderrRule[],
): StorageError {
  const complaint = `${result.stderr}\n${result.stdout}`;
  const rule = rules.find(
    ({ exitCode, pattern }) => (exitCode === undefined || exitCode === result.exitCode) && pattern.test(complaint),
  );
  const said = (result.stderr.trim() === "" ? result.stdout : result.stderr).trim().slice(0, excerptLength);
  const reason = rule?.reason ?? "internal";
  return new StorageError(reason, `${doing} on ${host}`, {
    // One of ours, so that the caller is shown what the tool said; no tool of ours prints a secret.
    cause: new StorageError(reason, `${argv[0]} exited with ${result.exitCode}${said === "" ? "" : `: ${said}`}`),
    details: { host, tool: argv[0] },
    ...(rule?.hint === undefined ? {} : { hint: rule.hint }),
  });
}

/** A host program with its failure table. */
export class Tool {
  readonly #executor: Executor;
  readonly #rules: readonly StderrRule[];

  constructor(executor: Executor, rules: readonly StderrRule[]) {
    this.#executor = executor;
    this.#rules = rules;
  }

  /** Runs it and returns its stdout. Any exit but 0 throws, classified by the table. */
  async run(doing: Doing, argv: Argv, options: RunOptions): Promise<string> {
    const result = await this.#executor.run(argv, options);
    if (result.exitCode !== 0) throw this.failure(doing, argv, result);
    return result.stdout;
  }

  /** Runs it and returns its exit as data, for callers to whom some exits are answers. */
  async exit(argv: Argv, options: RunOptions): Promise<RunResult> {
    return await this.#executor.run(argv, options);
  }

  /** Runs commands one after the other in one round trip, and returns the results of those that ran. */
  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return await this.#executor.sequence(commands, options);
  }

  failure(doing: Doing, argv: Argv, result: RunResult): StorageError {
    return toolFailure(this.#executor.host, doing, argv, result, this.#rules);
  }
}

/** The caller's options with another time limit, unless the caller set one. */
export function withTimeout(o: CallOptions, timeoutMs: number): CallOptions {
  return { signal: o.signal, timeoutMs: o.timeoutMs ?? timeoutMs };
}
