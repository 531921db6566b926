import { readdirSync, readFileSync } from "node:fs";

export interface Captured {
  /** The file's name up to the tool's version: what was tried. */
  readonly name: string;
  readonly exitCode: number;
  readonly stderr: string;
}

/** Reads a captured output beside the caller: `readTestdata(import.meta.url, "get-space.zfs-2.1.11.stdout.txt")`. */
export function readTestdata(caller: string, file: string): string {
  return readFileSync(new URL(`./testdata/${file}`, caller), "utf8");
}

/** Every captured failure beside the caller, from files called `NAME.TOOL-VERSION.exit-N.stderr.txt`. */
export function readFailures(caller: string): Captured[] {
  const directory = new URL("./testdata/", caller);
  return readdirSync(directory)
    .sort()
    .flatMap((file) => {
      const match = /^([^.]+)\..*\.exit-(\d+)\.stderr\.txt$/.exec(file);
      if (match?.[1] === undefined) return [];
      return [{ name: match[1], exitCode: Number(match[2]), stderr: readTestdata(caller, file) }];
    });
}
