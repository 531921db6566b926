import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FileOperation } from "./executor.ts";
import { decodeAnswer, encodeBatch } from "./file-worker-protocol.ts";
import { fileWorkerProgram } from "./file-worker.ts";

describe("the perl program", () => {
  let dir: string;
  let perl: ChildProcessWithoutNullStreams;
  let lines: Interface;
  let stderr: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "zfsilo-worker-"));
    // -w: it has to be free of warnings too, which would go to the log of a host.
    perl = spawn("perl", ["-w", "-e", fileWorkerProgram], { env: { LC_ALL: "C", PATH: "/usr/bin:/bin" } });
    lines = createInterface(perl.stdout);
    stderr = "";
    perl.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  });
  afterEach(async () => {
    const ended = once(perl, "exit");
    if (perl.exitCode === null) {
      perl.stdin.end();
      await ended;
    }
    expect(stderr).toBe("");
    await rm(dir, { recursive: true, force: true });
  });

  const perform = async (...operations: FileOperation[]) => {
    const answer = once(lines, "line");
    perl.stdin.write(encodeBatch(1, operations));
    const [line] = (await answer) as [string];
    return decodeAnswer(1, operations, line);
  };
  const create = { mode: 0o640 };

  it("gives modes that no umask of the host changes", async () => {
    await perform({ op: "mkdir", path: `${dir}/d`, mode: 0o710 }, { op: "mkdir", path: `${dir}/e` }, { op: "write", path: `${dir}/f`, content: "x", create });
    const mode = async (name: string) => (await stat(join(dir, name))).mode & 0o777;
    expect([await mode("d"), await mode("e"), await mode("f")]).toEqual([0o710, 0o755, 0o640]);
  });

  it("writes any content with one write(2)", async () => {
    const writes = async (content: string): Promise<number> => {
      const count = async () => Number(/^syscw: (\d+)$/m.exec(await readFile(`/proc/${perl.pid}/io`, "utf8"))?.[1]);
      const before = await count();
      await perform({ op: "write", path: `${dir}/f`, content, create });
      return (await count()) - before;
    };
    // One for the file and one for the answer.
    expect(await writes("x")).toBe(2);
    expect(await writes("x".repeat(3 * 1024 * 1024))).toBe(2);
    expect((await stat(join(dir, "f"))).size).toBe(3 * 1024 * 1024);
  });

  it("gives the number of any error the kernel returns", async () => {
    // A write to /dev/full is ENOSPC; to a process's oom_score_adj with no number EINVAL.
    expect(await perform({ op: "write", path: "/dev/full", content: "x" })).toEqual({ ok: false, index: 0, errno: "ENOSPC" });
    expect(await perform({ op: "write", path: "/proc/self/oom_score_adj", content: "none" })).toEqual({ ok: false, index: 0, errno: "EINVAL" });
  });

  it("performs nothing of a line that was cut", async () => {
    const ended = once(perl, "exit");
    perl.stdin.end(encodeBatch(1, [{ op: "mkdir", path: `${dir}/cut` }]).trimEnd());
    expect(await ended).toEqual([0, null]);
    expect(existsSync(`${dir}/cut`)).toBe(false);
  });

  it("uses nothing that perl-base lacks", () => {
    expect(fileWorkerProgram.match(/^use .*$/gm)).toEqual(["use strict;", "use Fcntl;"]);
  });
});
