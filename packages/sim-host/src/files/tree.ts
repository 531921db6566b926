/** What a path is, not following a symbolic link at its end. */
export type EntryKind = "directory" | "file" | "link";

/** One filesystem, virtual or not. Paths are absolute and hold no links but at the end. Refusals are KernelErrors. */
export interface Tree {
  kind(path: string): EntryKind | undefined;
  /** In any order. */
  list(path: string): readonly string[];
  /** At most `maxBytes` from the start where the content is long. */
  read(path: string, maxBytes: number): string;
  write(path: string, content: string, create?: { readonly mode: number }): void;
  mkdir(path: string, mode: number): void;
  rmdir(path: string): void;
  symlink(path: string, target: string): void;
  unlink(path: string): void;
  readlink(path: string): string;
}
