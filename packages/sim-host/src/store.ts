import { ChangeLog } from "./change-log.ts";

const mostParsed = 256;

/**
 * Every fact of the simulated world as small documents by key. A key is a path; the part before its last `/` is its
 * parent, and children are indexed, so that no command has to walk what it does not concern. Documents are kept as JSON
 * text: compact, and what is read can never be changed by accident.
 *
 * A command edits documents in place and ends with `commit`, which appends one line to the log. There is no rollback: like
 * a real tool, a command that fails half way keeps what had happened.
 */
export class Store {
  readonly #documents = new Map<string, string>();
  readonly #children = new Map<string, Set<string>>();
  readonly #edited = new Map<string, object>();
  readonly #deleted = new Set<string>();
  /** Documents parsed lately: commands look at the same few again and again. */
  readonly #parsed = new Map<string, object>();
  #log: ChangeLog | undefined;
  #stateBytes = 0;
  #broken: unknown;
  /** How many documents were looked at, for tests that a command's cost does not grow with the world. */
  reads = 0;

  static open(file: string | undefined): Store {
    const store = new Store();
    if (file === undefined) return store;
    store.#log = ChangeLog.open(file, ({ put, deleted }) => {
      for (const [key, value] of Object.entries(put)) store.#save(key, JSON.stringify(value));
      for (const key of deleted) store.#drop(key);
    });
    return store;
  }

  /** The document, to be looked at alone: the next reader is given the same object. */
  get(key: string): object | undefined {
    this.reads += 1;
    const edited = this.#edited.get(key);
    if (edited !== undefined) return edited;
    const parsed = this.#parsed.get(key);
    if (parsed !== undefined) return parsed;
    const json = this.#documents.get(key);
    if (json === undefined || this.#deleted.has(key)) return undefined;
    const document = JSON.parse(json) as object;
    if (this.#parsed.size >= mostParsed) this.#parsed.clear();
    this.#parsed.set(key, document);
    return document;
  }

  has(key: string): boolean {
    this.reads += 1;
    return this.#edited.has(key) || (this.#documents.has(key) && !this.#deleted.has(key));
  }

  /** The document, to be changed in place; changes are saved by the next commit. */
  edit(key: string): object | undefined {
    const edited = this.#edited.get(key);
    if (edited !== undefined) return edited;
    const value = this.get(key);
    if (value === undefined) return undefined;
    // Not the object that a reader may hold.
    const copy = structuredClone(value);
    this.#parsed.delete(key);
    this.#edited.set(key, copy);
    return copy;
  }

  put(key: string, value: object): void {
    this.#deleted.delete(key);
    this.#parsed.delete(key);
    this.#edited.set(key, value);
    this.#link(key);
  }

  delete(key: string): void {
    this.#edited.delete(key);
    this.#parsed.delete(key);
    if (this.#documents.has(key)) this.#deleted.add(key);
    this.#unlink(key);
  }

  /** Last segments of the keys directly under `parent`, in byte order. */
  children(parent: string): readonly string[] {
    const names = sortByBytes(Array.from(this.#children.get(parent) ?? []), (name) => name);
    this.reads += names.length;
    return names;
  }

  hasChildren(parent: string): boolean {
    this.reads += 1;
    return this.#children.has(parent);
  }

  /** Deletes `key` and everything below it, as far as each level between is a document itself. */
  deleteTree(key: string): void {
    for (const name of this.children(key)) this.deleteTree(`${key}/${name}`);
    if (this.has(key)) this.delete(key);
  }

  /** Makes what was edited durable. Must run before a command is answered. */
  commit(): void {
    // After a failed write the file and the memory differ: answering anything more could contradict a restart.
    if (this.#broken !== undefined) throw new Error("the simulated world lost its state file", { cause: this.#broken });
    if (this.#edited.size === 0 && this.#deleted.size === 0) return;
    const put = new Map<string, string>();
    for (const [key, value] of this.#edited) {
      const json = JSON.stringify(value);
      if (this.#documents.get(key) !== json) put.set(key, json);
    }
    try {
      if (put.size > 0 || this.#deleted.size > 0) this.#log?.append(put, [...this.#deleted]);
      for (const [key, json] of put) this.#save(key, json);
      for (const key of this.#deleted) this.#drop(key);
      this.#edited.clear();
      this.#deleted.clear();
      if (this.#log?.shouldCompact(this.#stateBytes) === true) this.#log.compact(this.#documents);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  close(): void {
    this.commit();
    this.#log?.close();
    this.#log = undefined;
    this.#broken = new Error("closed");
  }

  #save(key: string, json: string): void {
    const before = this.#documents.get(key);
    // 32: about what the framing of a line costs.
    this.#stateBytes += json.length - (before === undefined ? -key.length - 32 : before.length);
    this.#documents.set(key, json);
    this.#link(key);
  }

  #drop(key: string): void {
    const before = this.#documents.get(key);
    if (before === undefined) return;
    this.#stateBytes -= before.length + key.length + 32;
    this.#documents.delete(key);
    this.#unlink(key);
  }

  #link(key: string): void {
    const cut = parentEnd(key);
    const parent = key.slice(0, cut);
    const siblings = this.#children.get(parent);
    if (siblings === undefined) this.#children.set(parent, new Set([key.slice(cut + 1)]));
    else siblings.add(key.slice(cut + 1));
  }

  #unlink(key: string): void {
    const cut = parentEnd(key);
    const parent = key.slice(0, cut);
    const siblings = this.#children.get(parent);
    siblings?.delete(key.slice(cut + 1));
    if (siblings?.size === 0) this.#children.delete(parent);
  }
}

/** `kind:a/b` lies in `kind:a`, and that in `kind`. */
function parentEnd(key: string): number {
  const cut = key.lastIndexOf("/");
  return cut === -1 ? key.indexOf(":") : cut;
}

/** Sorts by the UTF-8 bytes of a text. UTF-16 order, much cheaper to compare, is the same unless a surrogate is involved. */
export function sortByBytes<T>(items: T[], text: (item: T) => string): T[] {
  if (items.some((item) => /[\ud800-\udfff]/.test(text(item)))) {
    return items.sort((a, b) => Buffer.compare(Buffer.from(text(a)), Buffer.from(text(b))));
  }
  return items.sort((a, b) => {
    const left = text(a);
    const right = text(b);
    return left < right ? -1 : Number(left > right);
  });
}

/** The documents of one kind, typed. Paths are relative to the kind. */
export class Table<T extends object> {
  readonly #store: Store;
  readonly #kind: string;

  constructor(store: Store, kind: string) {
    this.#store = store;
    this.#kind = kind;
  }

  get(path: string): T | undefined {
    return this.#store.get(`${this.#kind}:${path}`) as T | undefined;
  }

  has(path: string): boolean {
    return this.#store.has(`${this.#kind}:${path}`);
  }

  edit(path: string): T | undefined {
    return this.#store.edit(`${this.#kind}:${path}`) as T | undefined;
  }

  put(path: string, value: T): void {
    this.#store.put(`${this.#kind}:${path}`, value);
  }

  delete(path: string): void {
    this.#store.delete(`${this.#kind}:${path}`);
  }

  deleteTree(path: string): void {
    this.#store.deleteTree(`${this.#kind}:${path}`);
  }

  children(path: string): readonly string[] {
    return this.#store.children(`${this.#kind}:${path}`);
  }

  hasChildren(path: string): boolean {
    return this.#store.hasChildren(`${this.#kind}:${path}`);
  }
}
