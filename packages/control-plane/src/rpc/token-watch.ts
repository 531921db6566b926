import { errorChain, type Logger } from "@zfsilo/lib";
import { isDeepStrictEqual } from "node:util";
import type { KnownToken, Tokens } from "./tokens.ts";

/** Something that holds tokens and may change: a file. */
export interface TokenSource {
  /** For the log. */
  readonly name: string;
  /** What it held when the program started. */
  readonly known: readonly KnownToken[];
  read(): Promise<readonly KnownToken[]>;
}

const lookEveryMs = 2_000;

/**
 * Reads the sources again every two seconds: a token that was replaced counts, and the one before it no longer does. A source that
 * cannot be read keeps what it held: half-written files and wrong modes must not lock everybody out.
 */
export class TokenWatch implements Disposable {
  readonly #tokens: Tokens;
  readonly #log: Logger;
  readonly #sources: readonly { readonly source: TokenSource; known: readonly KnownToken[]; failed: string }[];
  readonly #timer: NodeJS.Timeout;

  constructor(tokens: Tokens, sources: readonly TokenSource[], log: Logger, everyMs = lookEveryMs) {
    this.#tokens = tokens;
    this.#log = log;
    this.#sources = sources.map((source) => ({ source, known: source.known, failed: "" }));
    this.#timer = setInterval(() => { void this.look(); }, everyMs);
    this.#timer.unref();
  }

  async look(): Promise<void> {
    for (const watched of this.#sources) {
      const { source } = watched;
      try {
        const found = await source.read();
        watched.failed = "";
        if (isDeepStrictEqual(found, watched.known)) continue;
        watched.known = found;
        this.#tokens.replace(this.#sources.flatMap(({ known }) => known));
        this.#log.info({ source: source.name, names: found.map(({ name }) => name) }, "the tokens have changed; the old ones no longer count");
      } catch (error) {
        // Once for each way it fails, and not every few seconds.
        if (watched.failed === errorChain(error)) continue;
        watched.failed = errorChain(error);
        this.#log.error({ err: error, source: source.name }, "tokens cannot be read; those before stay");
      }
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
