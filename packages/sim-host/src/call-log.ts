import type { Argv, FileOperation } from "@zfsilo/command";

/** A call as tests want to see it: a command, or a batch of file operations without their content. */
export type LoggedCall =
  | { readonly argv: Argv }
  | { readonly operations: readonly Pick<FileOperation, "op" | "path">[] };

/** A service may run for months on simulated machines: only the latest calls are kept, all are counted. */
const kept = 1000;

export class CallLog {
  readonly #latest: LoggedCall[] = [];
  #count = 0;

  add(call: LoggedCall): void {
    this.#count += 1;
    this.#latest.push(call);
    if (this.#latest.length >= 2 * kept) this.#latest.splice(0, kept);
  }

  get count(): number {
    return this.#count;
  }

  get latest(): readonly LoggedCall[] {
    return this.#latest.slice(-kept);
  }
}
