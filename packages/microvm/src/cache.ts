import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isSameProcess, parseProcessId, thisProcess } from "./process-id.ts";

/** Where images, saved machines and running instances live: XDG_CACHE_HOME/zfsilo/microvm, else under ~/.cache. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment["XDG_CACHE_HOME"];
  return join(base === undefined || base === "" ? join(homedir(), ".cache") : base, "zfsilo", "microvm");
}

/** A short key that changes with anything in `recipe`. Keys of objects are sorted, so their order does not matter. */
export function keyOf(recipe: unknown): string {
  return createHash("sha256").update(canonical(recipe)).digest("hex").slice(0, 16);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * Returns `directory`, made by `build` when it is not there. `build` fills a directory beside it that is renamed when
 * complete: an interrupted build leaves nothing that looks finished. Processes that want the same wait for one another.
 */
export async function cachedDirectory(
  directory: string,
  build: (unfinished: string) => Promise<void>,
  options: { readonly signal: AbortSignal; readonly log: (line: string) => void },
): Promise<string> {
  if (await exists(directory)) return directory;
  await mkdir(join(directory, ".."), { recursive: true });
  await using _lock = await lockFile(`${directory}.lock`, options);
  if (await exists(directory)) return directory;
  const unfinished = `${directory}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  try {
    await build(unfinished);
    await rename(unfinished, directory);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  return directory;
}

/** Holds a lock between processes: a file that names its owner. The lock of a process that has died is taken over. */
export async function lockFile(
  path: string,
  options: { readonly signal: AbortSignal; readonly log: (line: string) => void },
): Promise<AsyncDisposable> {
  let announced = false;
  for (;;) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(JSON.stringify(await thisProcess()));
      await file.close();
      return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    if (await isAbandoned(path)) {
      await rm(path, { force: true });
      continue;
    }
    if (!announced) options.log(`waiting for another process that holds ${path}`);
    announced = true;
    await sleep(500, undefined, { signal: options.signal });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return false;
  const owner = parseProcessId(text);
  if (owner !== undefined) return !(await isSameProcess(owner));
  // Opened but not yet written to: only a process that died between the two leaves it so for long.
  const age = Date.now() - (await stat(path).then((s) => s.mtimeMs, () => Date.now()));
  return age > 10_000;
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
