import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LocalExecutor } from "./local.ts";
import { RecordingExecutor, type RecordedCall } from "./recording.ts";

describe("RecordingExecutor", () => {
  const { signal } = new AbortController();
  let dir: string;
  let heard: RecordedCall[];
  let executor: RecordingExecutor;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "zfsilo-recording-"));
    heard = [];
    executor = new RecordingExecutor(new LocalExecutor("here"), { onCall: (call) => heard.push(call), maxCalls: 3 });
  });
  afterEach(async () => {
    await executor.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("passes on and keeps what ran and how it ended", async () => {
    const result = await executor.run(["sh", "-c", "echo why >&2; exit 3"], { signal });
    expect(result.exitCode).toBe(3);
    expect(executor.calls).toEqual([
      { at: expect.any(Date), host: "here", durationMs: expect.any(Number), argv: ["sh", "-c", "echo why >&2; exit 3"], exitCode: 3, stderr: "why\n" },
    ]);
    expect(heard).toEqual(executor.calls);
  });

  it("keeps neither standard input nor standard output nor secret content", async () => {
    await executor.run(["cat"], { signal, stdin: "hunter2" });
    await executor.files([{ op: "write", path: `${dir}/f`, content: "hunter2", secret: true, create: { mode: 0o600 } }], { signal });
    const read = await executor.files([{ op: "read", path: `${dir}/f` }], { signal });
    expect(read).toEqual([{ text: "hunter2" }]);
    expect(JSON.stringify(executor.calls)).not.toContain("hunter2");
    expect(executor.calls[1]?.operations).toMatchObject([{ op: "write", path: `${dir}/f`, content: "[secret]" }]);
  });

  it("shows other content, cut to an excerpt", async () => {
    const create = { mode: 0o600 };
    await executor.files([{ op: "write", path: `${dir}/f`, content: "x".repeat(5_000), create }, { op: "write", path: `${dir}/g`, content: "1", create }], { signal });
    const lengths = executor.calls[0]?.operations?.map((operation) => (operation.op === "write" ? operation.content.length : 0));
    expect(lengths).toEqual([1024, 1]);
  });

  it("keeps how a batch failed", async () => {
    const call = executor.files([{ op: "list", path: dir }, { op: "rmdir", path: `${dir}/none` }], { signal });
    await expect(call).rejects.toThrow();
    expect(executor.calls[0]?.error).toMatchObject({ reason: "not_found", index: 1, errno: "ENOENT" });
  });

  it("keeps how a command ended that gave no exit", async () => {
    await expect(executor.run(["sleep", "5"], { signal, timeoutMs: 50 })).rejects.toThrow();
    expect(executor.calls[0]?.error).toMatchObject({ reason: "timeout", outcome: "unknown" });
  });

  it("forgets the oldest above its limit, and counts them", async () => {
    for (const code of [0, 1, 2, 3, 4]) await executor.run(["sh", "-c", `exit ${code}`], { signal });
    expect(executor.calls.map((call) => call.exitCode)).toEqual([2, 3, 4]);
    expect(executor.dropped).toBe(2);
    expect(heard).toHaveLength(5);
  });
});
