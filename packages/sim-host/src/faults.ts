import type { Argv, Errno, FileOperation } from "@zfsilo/command";

export type FaultEffect =
  /** A command exits with the code (default 1) and stderr; a file operation fails with errno (default EIO). Nothing happens. */
  | { readonly kind: "fail"; readonly exitCode?: number; readonly stderr?: string; readonly errno?: Errno }
  /** Nothing happens until the caller's limit or signal ends the wait. */
  | { readonly kind: "hang" }
  /** The connection is lost before, or after, the command took effect: the caller sees the same error. */
  | { readonly kind: "drop-before" }
  | { readonly kind: "drop-after" }
  /** The connection is lost, and the command killed in the middle. For programs that leave a half, as mkfs does. */
  | { readonly kind: "interrupt" }
  | { readonly kind: "delay"; readonly ms: number }
  /** The command takes effect, but answers this. A file operation reads `stdout` in place of its text. */
  | { readonly kind: "garbage"; readonly stdout: string; readonly exitCode: number };

export interface FaultMatch {
  readonly program?: string;
  /** Each of these is part of some argument. */
  readonly argvIncludes?: readonly string[];
  readonly pathIncludes?: string;
  readonly op?: FileOperation["op"];
}

export interface Fault {
  readonly host?: string;
  /**
   * `program` and `argvIncludes` match commands, `op` and `pathIncludes` match single operations of a batch. A match
   * that names neither counts calls: a command or a whole batch each.
   */
  readonly match: FaultMatch;
  /** Strikes at this match, counted from 1 (default) since the fault was added, */
  readonly nth?: number;
  /** and at this many in all (default 1; Infinity for ever). */
  readonly times?: number;
  readonly effect: FaultEffect;
}

interface Armed {
  readonly fault: Fault;
  seen: number;
}

/** What goes wrong on purpose. Lives in memory: it is the test's, not the world's. */
export class Faults {
  readonly #armed = new Set<Armed>();

  /** Returns a function that takes the fault away again. */
  add(fault: Fault): () => void {
    const armed: Armed = { fault, seen: 0 };
    this.#armed.add(armed);
    return () => {
      this.#armed.delete(armed);
    };
  }

  clear(): void {
    this.#armed.clear();
  }

  forCommand(host: string, argv: Argv): FaultEffect | undefined {
    return this.#strike(
      host,
      (match) =>
        isAny(match) ||
        (match.op === undefined &&
          match.pathIncludes === undefined &&
          (match.program === undefined || match.program === argv[0]) &&
          (match.argvIncludes ?? []).every((part) => argv.slice(1).some((argument) => argument.includes(part)))),
    );
  }

  forBatch(host: string): FaultEffect | undefined {
    return this.#strike(host, isAny);
  }

  forOperation(host: string, operation: FileOperation): FaultEffect | undefined {
    return this.#strike(
      host,
      (match) =>
        !isAny(match) &&
        match.program === undefined &&
        match.argvIncludes === undefined &&
        (match.op === undefined || match.op === operation.op) &&
        (match.pathIncludes === undefined || operation.path.includes(match.pathIncludes)),
    );
  }

  #strike(host: string, matches: (match: FaultMatch) => boolean): FaultEffect | undefined {
    let effect: FaultEffect | undefined;
    for (const armed of this.#armed) {
      const { fault } = armed;
      if ((fault.host !== undefined && fault.host !== host) || !matches(fault.match)) continue;
      armed.seen += 1;
      const first = fault.nth ?? 1;
      if (armed.seen < first || armed.seen >= first + (fault.times ?? 1)) continue;
      effect ??= fault.effect;
    }
    return effect;
  }
}

function isAny(match: FaultMatch): boolean {
  return Object.keys(match).length === 0;
}
