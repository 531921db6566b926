import { StorageError } from "@zfsilo/lib";

export const readOnly = "The file or its directory cannot be written. Mount it writable, and give it to the user that runs zfsilo.";

/** Result codes of SQLite (https://sqlite.org/rescode.html) that no caller is to blame for, and what a person can do. */
const troubles: readonly (readonly [RegExp, string])[] = [
  [/SQLITE_FULL/, "The disk that holds it is full. Make room; nothing has to be restarted."],
  [/SQLITE_(READONLY|CANTOPEN|PERM)/, readOnly],
  [/SQLITE_IOERR/, "The disk that holds it fails. Look at the kernel's log."],
  [/SQLITE_(NOTADB|CORRUPT)/, "The file is damaged or no SQLite database. Stop zfsilo and restore the file from a copy."],
  [/SQLITE_(BUSY|LOCKED)/, "Another program holds the file locked. Only one zfsilo may use it, and nothing else may write to it."],
];

/** What to do about a failure that is the database's own; undefined for any other. */
export function troubleOf(error: unknown): string | undefined {
  const text = error instanceof Error ? error.message : "";
  return troubles.find(([pattern]) => pattern.test(text))?.[1];
}

/** No write that works makes up for pages that are lost: only a new start on a restored file does. */
const lasting = /SQLITE_(NOTADB|CORRUPT)/;

/** A full disk may still take a small write: one that works clears the problem only when none has failed for this long. */
const quietMs = 5_000;

/** Whether the database can be used, as the last reads and writes tell. */
export class DatabaseHealth {
  readonly #file: string;
  #problem: { readonly error: StorageError; readonly at: number; readonly lasts: boolean } | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  get problem(): StorageError | undefined {
    return this.#problem?.error;
  }

  worked(): void {
    if (this.#problem !== undefined && !this.#problem.lasts && performance.now() - this.#problem.at > quietMs) this.#problem = undefined;
  }

  /** The failure as callers are told of it. */
  failed(error: unknown): unknown {
    const hint = troubleOf(error);
    if (hint === undefined || error instanceof StorageError) return error;
    const told = new StorageError("unavailable", `use the database ${this.#file}`, { cause: error, hint });
    const lasts = error instanceof Error && lasting.test(error.message);
    if (this.#problem?.lasts !== true) this.#problem = { error: told, at: performance.now(), lasts };
    return told;
  }
}
