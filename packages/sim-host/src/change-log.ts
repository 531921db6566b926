import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, truncateSync, writeSync } from "node:fs";

/** One line of the log: documents put (key to JSON value) and keys deleted by one command. */
export interface Change {
  readonly put: Readonly<Record<string, unknown>>;
  readonly deleted: readonly string[];
}

/** Below this many bytes a log is never compacted: rewriting would cost more than it saves. */
const smallestCompaction = 1024 * 1024;
const snapshotPiece = 256 * 1024;

/**
 * The state of the simulated world on disk: one JSON line a command, appended by a single write before the command is
 * answered. A process killed in that write leaves a torn last line, which is cut off at the next open: that command never
 * happened. No fsync: what is simulated survives the death of our process, not of the real machine.
 */
export class ChangeLog {
  readonly #path: string;
  #fd: number;
  #bytes: number;
  #compactAt = smallestCompaction;

  private constructor(path: string, fd: number, bytes: number) {
    this.#path = path;
    this.#fd = fd;
    this.#bytes = bytes;
  }

  static open(path: string, apply: (change: Change) => void): ChangeLog {
    const bytes = existsSync(path) ? replay(path, apply) : 0;
    return new ChangeLog(path, openSync(path, "a", 0o600), bytes);
  }

  /** `put` holds values already in JSON. */
  append(put: ReadonlyMap<string, string>, deleted: readonly string[]): void {
    const line = Buffer.from(changeLine(put, deleted), "utf8");
    const written = writeSync(this.#fd, line);
    if (written !== line.length) throw new Error(`short write to ${this.#path}`);
    this.#bytes += line.length;
  }

  /** Whether the log has outgrown what a rewrite of `stateBytes` of documents would take. */
  shouldCompact(stateBytes: number): boolean {
    return this.#bytes > this.#compactAt && this.#bytes > 2 * stateBytes;
  }

  /** Rewrites the log as the present documents. A crash leaves either the old file or the new one. */
  compact(documents: Iterable<readonly [key: string, json: string]>): void {
    const temporary = `${this.#path}.new`;
    const fd = openSync(temporary, "w", 0o600);
    let total = 0;
    let piece: string[] = [];
    let pieceBytes = 0;
    const flush = (): void => {
      total += writeSync(fd, piece.join(""));
      piece = [];
      pieceBytes = 0;
    };
    for (const [key, json] of documents) {
      const line = changeLine(new Map([[key, json]]), []);
      piece.push(line);
      pieceBytes += line.length;
      if (pieceBytes > snapshotPiece) flush();
    }
    flush();
    // The rename must not become visible before the content: this is the whole state.
    fsyncSync(fd);
    closeSync(fd);
    renameSync(temporary, this.#path);
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, "a", 0o600);
    this.#bytes = total;
    this.#compactAt = Math.max(smallestCompaction, total);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function changeLine(put: ReadonlyMap<string, string>, deleted: readonly string[]): string {
  const puts = Array.from(put, ([key, json]) => `${JSON.stringify(key)}:${json}`);
  return `{"put":{${puts.join(",")}},"deleted":${JSON.stringify(deleted)}}\n`;
}

/** Applies every whole line and cuts a torn last one off. Returns the length of what was kept. */
function replay(path: string, apply: (change: Change) => void): number {
  const content = readFileSync(path);
  let start = 0;
  for (;;) {
    const end = content.indexOf(0x0a, start);
    if (end === -1) break;
    apply(parseLine(path, content.toString("utf8", start, end)));
    start = end + 1;
  }
  if (start < content.length) truncateSync(path, start);
  return start;
}

function parseLine(path: string, line: string): Change {
  try {
    return JSON.parse(line) as Change;
  } catch (error) {
    throw new Error(`read ${path}: a line before the last is damaged`, { cause: error });
  }
}
