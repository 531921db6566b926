import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "@zfsilo/lib";
import { cacheDirectory } from "./cache.ts";
import { isAlive, listInstances, readInstance } from "./instance.ts";
import { imageKey, packagesKey } from "./recipe.ts";

/**
 * Removes what earlier recipes left in the cache, and the saved machines with it (a minute's boot makes them again).
 * Refused while machines run: their disks lean on an image that may be one of these.
 */
export async function pruneCache(): Promise<readonly string[]> {
  for (const name of await listInstances()) {
    const state = await readInstance(name);
    if (state === undefined) continue;
    const alive = await isAlive(name, state);
    if (alive.give || alive.take) {
      throw new StorageError("precondition", "prune the cache", {
        cause: new Error(`the machines of ${name} run`),
        hint: `Take them down first: npm run microvm -- down --instance ${name}`,
      });
    }
  }
  const current: readonly string[] = [imageKey, packagesKey];
  const entries = await readdir(cacheDirectory()).catch(() => []);
  const stale = entries.filter((name) => /^[0-9a-f]{16}(\.unfinished)?$/.test(name) && !current.includes(name));
  for (const name of stale) await rm(join(cacheDirectory(), name), { recursive: true, force: true });
  return stale;
}
