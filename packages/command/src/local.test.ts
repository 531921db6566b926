import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { executorContract, streamContract, type ContractOptions } from "./contract.ts";
import { LocalExecutor } from "./local.ts";

const contract: ContractOptions = {
  name: "LocalExecutor",
  make: async () => {
    const dir = await mkdtemp(join(tmpdir(), "zfsilo-local-"));
    const executor = new LocalExecutor("here");
    return {
      executor,
      dir,
      close: async () => {
        await executor.close();
        await rm(dir, { recursive: true, force: true });
      },
    };
  },
};

executorContract(contract);
streamContract(contract);

describe("LocalExecutor", () => {
  const { signal } = new AbortController();
  let dir: string;
  let executor: LocalExecutor;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "zfsilo-local-"));
    executor = new LocalExecutor("here");
  });
  afterEach(async () => {
    await executor.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("creates files and directories with the mode asked for", async () => {
    await executor.files(
      [
        { op: "mkdir", path: `${dir}/d`, mode: 0o710 },
        { op: "write", path: `${dir}/f`, content: "x", create: { mode: 0o600 } },
      ],
      { signal },
    );
    expect((await stat(`${dir}/d`)).mode & 0o777).toBe(0o710);
    expect((await stat(`${dir}/f`)).mode & 0o777).toBe(0o600);
  });

  it("passes nothing of our own environment on", async () => {
    process.env["ZFSILO_TEST_LEAK"] = "1";
    try {
      const { stdout } = await executor.run(["env"], { signal });
      expect(stdout.trim().split("\n").map((line) => line.split("=")[0]).sort()).toEqual(["HOME", "LC_ALL", "PATH", "TZ"]);
    } finally {
      delete process.env["ZFSILO_TEST_LEAK"];
    }
  });

  it("runs where nobody says what its home is, as in a container without a user database", async () => {
    vi.stubEnv("HOME", undefined);
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { stdout } = await executor.run(["printenv", "HOME"], { signal });
    expect(stdout).toBe("/\n");
  });

  it("writes any content with one write(2)", async () => {
    // /proc/self/io counts our system calls; those of waking the thread pool are the same for both sizes.
    const writes = async (content: string): Promise<number> => {
      const count = async () => Number(/^syscw: (\d+)$/m.exec(await readFile("/proc/self/io", "utf8"))?.[1]);
      const counts: number[] = [];
      for (let round = 0; round < 5; round += 1) {
        const before = await count();
        await executor.files([{ op: "write", path: `${dir}/f`, content, create: { mode: 0o600 } }], { signal });
        counts.push((await count()) - before);
      }
      return Math.min(...counts);
    };
    const small = await writes("x");
    const large = await writes("x".repeat(8 * 1024 * 1024));
    expect(large - small).toBeLessThan(8);
  });

  it("says that an argument list was too long, and nothing started", async () => {
    const args = Array.from({ length: 40 }, () => "x".repeat(100_000));
    await expect(executor.run(["true", ...args], { signal })).rejects.toMatchObject({ reason: "invalid_argument", outcome: "not_started" });
  });
});
