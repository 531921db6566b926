import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cacheDirectory, cachedDirectory, keyOf, lockFile } from "./cache.ts";
import { thisProcess } from "./process-id.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-cache-"));
});
afterEach(() => rm(directory, { recursive: true }));

function options(limitMs = 5_000): { signal: AbortSignal; log: (line: string) => void; lines: string[] } {
  const lines: string[] = [];
  return { signal: AbortSignal.timeout(limitMs), log: (line) => lines.push(line), lines };
}

describe("cacheDirectory", () => {
  it.each([
    [{ XDG_CACHE_HOME: "/var/cache/me" }, /^\/var\/cache\/me\/zfsilo\/microvm$/],
    [{ XDG_CACHE_HOME: "" }, /\/\.cache\/zfsilo\/microvm$/],
    [{}, /\/\.cache\/zfsilo\/microvm$/],
  ])("%j", (environment, path) => {
    expect(cacheDirectory(environment)).toMatch(path);
  });
});

describe("keyOf", () => {
  it("does not depend on the order of keys", () => {
    expect(keyOf({ a: 1, b: { c: 2, d: [3] } })).toBe(keyOf({ b: { d: [3], c: 2 }, a: 1 }));
  });

  it.each([[{ a: 2 }], [{ b: 1 }], [{ a: [1] }], [{ a: "1" }], [{ a: 1, b: null }]])("tells %j from {a: 1}", (other) => {
    expect(keyOf(other)).not.toBe(keyOf({ a: 1 }));
  });
});

describe("cachedDirectory", () => {
  it("builds once, also when two want it at the same time", async () => {
    let built = 0;
    const want = (): Promise<string> =>
      cachedDirectory(
        join(directory, "thing"),
        async (unfinished) => {
          built += 1;
          await writeFile(join(unfinished, "content"), "x");
        },
        options(),
      );
    const [first, second] = await Promise.all([want(), want()]);
    expect(built).toBe(1);
    expect(second).toBe(first);
    expect(await readFile(join(first, "content"), "utf8")).toBe("x");
  });

  it("leaves nothing behind a build that failed, and the next one starts afresh", async () => {
    const target = join(directory, "thing");
    const failing = cachedDirectory(target, () => Promise.reject(new Error("no disk")), options());
    await expect(failing).rejects.toThrow("no disk");
    expect(await readdir(directory)).toEqual([]);
    await cachedDirectory(target, () => Promise.resolve(), options());
    expect(await readdir(directory)).toEqual(["thing"]);
  });
});

describe("lockFile", () => {
  it("makes the second wait for the first, and says so once", async () => {
    const path = join(directory, "lock");
    const first = await lockFile(path, options());
    const waiting = options();
    let entered = false;
    const second = lockFile(path, waiting).then((lock) => {
      entered = true;
      return lock;
    });
    await sleep(700);
    expect(entered).toBe(false);
    await first[Symbol.asyncDispose]();
    await (await second)[Symbol.asyncDispose]();
    expect(waiting.lines).toHaveLength(1);
  });

  it("takes over the lock of a process that has died", async () => {
    const path = join(directory, "lock");
    const dead = { ...(await thisProcess()), startTicks: 1 };
    await writeFile(path, JSON.stringify(dead));
    await using _lock = await lockFile(path, options());
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual(await thisProcess());
  });

  it("stops waiting when told to", async () => {
    const path = join(directory, "lock");
    await using _lock = await lockFile(path, options());
    await expect(lockFile(path, options(100))).rejects.toThrow();
  });
});
