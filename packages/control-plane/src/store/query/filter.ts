import { invalidField, type StorageError } from "@zfsilo/lib";

/**
 * The filter language of lists, a subset of AIP-160:
 *
 *     expression = term { "AND" term } | term { "OR" term }
 *     term       = [ "NOT" ] ( comparison | "(" expression ")" )
 *     comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value
 *     field      = name [ "." key ]              key: a word, or a quoted string
 *     value      = word | quoted string | "*"
 *
 * AND and OR are not mixed without parentheses: AIP-160 binds OR tighter, most other languages AND, and a filter that is
 * read the other way round selects the wrong volumes.
 */
export const comparators = ["<=", ">=", "!=", "=", "<", ">", ":"] as const;
export type Comparator = (typeof comparators)[number];

export type Filter =
  | { readonly kind: "and" | "or"; readonly terms: readonly Filter[] }
  | { readonly kind: "not"; readonly term: Filter }
  | Comparison;

export interface Comparison {
  readonly kind: "comparison";
  readonly field: string;
  /** What follows the dot of `labels.key`. */
  readonly key: string | undefined;
  readonly comparator: Comparator;
  readonly value: string;
  /** `*` without quotes: anything at all. */
  readonly any: boolean;
  /** Characters before it in the filter, for messages. */
  readonly position: number;
}

const maxLength = 2048;
const maxComparisons = 50;
const maxDepth = 20;

/** Undefined for an empty filter. Throws invalid_argument `filter`. */
export function parseFilter(text: string): Filter | undefined {
  if (text.length > maxLength) throw invalidField("filter", `is longer than ${maxLength} characters`);
  const tokens = tokenize(text);
  if (tokens.length === 1) return undefined;
  return new Parser(tokens).parse();
}

export function badFilter(position: number, problem: string): StorageError {
  return invalidField("filter", `${problem} (at character ${position + 1})`, "docs/api.md describes filters.");
}

type Token =
  | { readonly kind: "word" | "string" | "any" | "comparator" | "end"; readonly text: string; readonly position: number }
  | { readonly kind: "(" | ")" | "."; readonly text: string; readonly position: number };

const wordPattern = /[A-Za-z0-9_][A-Za-z0-9_./-]*/y;
const stringPattern = /"((?:[^"\\]|\\["\\])*)"|'((?:[^'\\]|\\['\\])*)'/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let position = 0;
  while (position < text.length) {
    const character = text.charAt(position);
    if (/\s/.test(character)) {
      position += 1;
      continue;
    }
    const token = tokenAt(text, position);
    tokens.push({ ...token, position });
    position += token.length;
  }
  tokens.push({ kind: "end", text: "", position });
  return tokens;
}

function tokenAt(text: string, position: number): { kind: Token["kind"]; text: string; length: number } {
  const character = text.charAt(position);
  if (character === "(" || character === ")" || character === ".") return { kind: character, text: character, length: 1 };
  if (character === "*") return { kind: "any", text: character, length: 1 };
  const comparator = comparators.find((symbol) => text.startsWith(symbol, position));
  if (comparator !== undefined) return { kind: "comparator", text: comparator, length: comparator.length };
  stringPattern.lastIndex = position;
  const string = stringPattern.exec(text);
  if (string !== null) {
    const content = (string[1] ?? string[2] ?? "").replaceAll(/\\(.)/g, "$1");
    return { kind: "string", text: content, length: string[0].length };
  }
  wordPattern.lastIndex = position;
  const word = wordPattern.exec(text);
  if (word !== null) return { kind: "word", text: word[0], length: word[0].length };
  throw badFilter(position, character === '"' || character === "'" ? "a quoted string does not end" : `unexpected ${character}`);
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #comparisons = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): Filter {
    const filter = this.#expression(0);
    const rest = this.#peek();
    if (rest.kind !== "end") throw badFilter(rest.position, `expected AND, OR or the end, found ${rest.text}`);
    return filter;
  }

  #expression(depth: number): Filter {
    if (depth > maxDepth) throw badFilter(this.#peek().position, `more than ${maxDepth} levels of parentheses`);
    const first = this.#term(depth);
    const operator = this.#operator();
    if (operator === undefined) return first;
    const terms = [first];
    for (let found: string | undefined = operator; found !== undefined; found = this.#operator()) {
      if (found !== operator) {
        throw badFilter(this.#peek().position, "AND and OR are mixed: put parentheses around one of them");
      }
      this.#next += 1;
      terms.push(this.#term(depth));
    }
    return { kind: operator === "AND" ? "and" : "or", terms };
  }

  #operator(): "AND" | "OR" | undefined {
    const token = this.#peek();
    return token.kind === "word" && (token.text === "AND" || token.text === "OR") ? token.text : undefined;
  }

  #term(depth: number): Filter {
    const token = this.#peek();
    if (token.kind === "word" && token.text === "NOT") {
      this.#next += 1;
      if (depth > maxDepth) throw badFilter(token.position, `more than ${maxDepth} levels of NOT`);
      return { kind: "not", term: this.#term(depth + 1) };
    }
    if (token.kind !== "(") return this.#comparison();
    this.#next += 1;
    const inner = this.#expression(depth + 1);
    const close = this.#take();
    if (close.kind !== ")") throw badFilter(close.position, "expected )");
    return inner;
  }

  #comparison(): Comparison {
    const name = this.#take();
    if (name.kind !== "word") throw badFilter(name.position, "expected the name of a field");
    this.#comparisons += 1;
    if (this.#comparisons > maxComparisons) throw badFilter(name.position, `more than ${maxComparisons} comparisons`);
    const { field, key } = this.#fieldAndKey(name.text);
    const comparator = this.#take();
    const known = comparators.find((symbol) => comparator.kind === "comparator" && symbol === comparator.text);
    if (known === undefined) {
      throw badFilter(comparator.position, `expected one of ${comparators.join(" ")} after ${name.text}`);
    }
    const value = this.#take();
    if (value.kind !== "word" && value.kind !== "string" && value.kind !== "any") {
      throw badFilter(value.position, `expected a value after ${name.text} ${known}`);
    }
    return { kind: "comparison", field, key, comparator: known, value: value.text, any: value.kind === "any", position: name.position };
  }

  /** `labels.a.b/c` is one word; `labels."a b"` is a word that ends in a dot, and a string. */
  #fieldAndKey(word: string): { field: string; key: string | undefined } {
    const dot = word.indexOf(".");
    if (dot === -1) return { field: word, key: undefined };
    const field = word.slice(0, dot);
    const key = word.slice(dot + 1);
    if (key !== "") return { field, key };
    const quoted = this.#take();
    if (quoted.kind !== "string" || quoted.text === "") throw badFilter(quoted.position, `expected a key after ${word}`);
    return { field, key: quoted.text };
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: "end", text: "", position: 0 };
  }

  #take(): Token {
    const token = this.#peek();
    if (token.kind !== "end") this.#next += 1;
    return token;
  }
}
