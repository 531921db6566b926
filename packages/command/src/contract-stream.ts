import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StreamExitError } from "./command-error.ts";
import { expectGone, failure, pidIn } from "./contract-process.ts";
import type { ContractOptions, ContractSubject } from "./contract.ts";
import type { Argv, Executor, StreamOptions } from "./executor.ts";

const mebibyte = 1024 * 1024;

/** Output piece by piece, and two programs joined by a pipe. */
export function streamContract(options: ContractOptions): void {
  describe(`${options.name}: streams`, () => {
    let subject: ContractSubject;
    let executor: Executor;
    const { signal } = new AbortController();
    const sh = (script: string): Argv => ["sh", "-c", script];
    const exists = async (path: string): Promise<boolean> => (await executor.run(["test", "-e", path], { signal })).exitCode === 0;
    const cat: Argv = ["cat"];
    const drain = (producer: Argv, consumer: Argv = cat, more: Partial<StreamOptions> = {}): Promise<Buffer> =>
      collect(executor.stream(producer, consumer, { signal, ...more }));

    beforeAll(async () => {
      subject = await options.make();
      executor = subject.executor;
    });
    afterAll(async () => {
      await subject.close();
    });

    it("gives every byte in order, and ends", async () => {
      expect((await drain(["printf", "\\000\\377\\012end"])).toString("latin1")).toBe("\u0000\u00ff\nend");
      expect(await drain(["true"])).toHaveLength(0);
      const script = `i=0; while [ $i -lt 40000 ]; do echo "line $i of many that are told apart"; i=$((i+1)); done`;
      const all = await drain(sh(script));
      const wanted = Array.from({ length: 40_000 }, (_, i) => `line ${i} of many that are told apart\n`).join("");
      expect(createHash("sha256").update(all).digest("hex")).toBe(createHash("sha256").update(wanted).digest("hex"));
    });

    it("gives what the consumer makes of it, and arguments on as they are", async () => {
      expect((await drain(["head", "-c", String(4 * mebibyte), "/dev/zero"], ["wc", "-c"])).toString().trim()).toBe(String(4 * mebibyte));
      const odd = ["", "a b", "-n", "$(id)", "'\"'", "; exit 9", "line\nline", "*", "é☃"];
      const told = await drain(["printf", "%s\n", ...odd], ["sh", "-c", 'cat; printf "%s|" "$@"', "sh", ...odd]);
      expect(told.toString()).toBe(`${odd.join("\n")}\n${odd.join("|")}|`);
    });

    it.each([
      [3, 0, 3],
      [0, 4, 4],
      [3, 4, 4],
    ])("tells other exits than 0, %i and %i, and what was said, after the last piece", async (producer, consumer, exitCode) => {
      const pieces: Uint8Array[] = [];
      const read = async (): Promise<void> => {
        const stream = executor.stream(sh(`echo out; echo why >&2; exit ${producer}`), sh(`cat; exit ${consumer}`), { signal });
        for await (const piece of stream) pieces.push(piece);
      };
      const error: unknown = await read().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(StreamExitError);
      expect(error).toMatchObject({ result: { exitCode, stderr: "why\n" } });
      expect(Buffer.concat(pieces).toString()).toBe("out\n");
    });

    it("tells of a program that was killed, and of one that is missing", async () => {
      await expect(drain(sh("kill -TERM $$"))).rejects.toMatchObject({ result: { exitCode: 143 } });
      await expect(drain(["echo", "x"], sh("kill -KILL $$"))).rejects.toMatchObject({ result: { exitCode: 137 } });
      const missing: Argv = ["zfsilo-no-such-program"];
      await expect(drain(missing)).rejects.toMatchObject({ result: { exitCode: 127 } });
      await expect(drain(["echo", "x"], missing)).rejects.toMatchObject({ result: { exitCode: 127 } });
    });

    it("starts nothing before the first piece is asked for", async () => {
      const marker = `${subject.dir}/lazy`;
      const stream = executor.stream(["touch", marker], cat, { signal });
      await sleep(200);
      expect(await exists(marker)).toBe(false);
      await collect(stream);
      expect(await exists(marker)).toBe(true);
    });

    it("holds both up while the reader is behind", async () => {
      const marker = `${subject.dir}/held`;
      const script = sh(`head -c ${32 * mebibyte} /dev/zero; touch ${marker}`);
      let size = 0;
      for await (const piece of executor.stream(script, cat, { signal, maxWaitingBytes: 65_536 })) {
        if (size === 0) {
          await sleep(700);
          expect(await exists(marker)).toBe(false);
        }
        size += piece.length;
      }
      expect(size).toBe(32 * mebibyte);
      expect(await exists(marker)).toBe(true);
    });

    it("ends both when the reader stops", async () => {
      const marker = `${subject.dir}/stopped`;
      const more = sh(`echo $$ > ${marker}; while :; do echo more; done`);
      for await (const piece of executor.stream(more, sh(`echo $$ > ${marker}.2; cat`), { signal })) {
        expect(piece.length).toBeGreaterThan(0);
        break;
      }
      await expectGone(executor, marker);
      await expectGone(executor, `${marker}.2`);
    });

    it("ends both when the caller aborts, and at the time limit, also while nobody reads", async () => {
      const marker = `${subject.dir}/abort`;
      const controller = new AbortController();
      const script = sh(`echo $$ > ${marker}; echo first; sleep 300`);
      const reader = executor.stream(script, cat, { signal: controller.signal })[Symbol.asyncIterator]();
      expect((await reader.next()).done).toBe(false);
      controller.abort(new Error("enough"));
      await expectGone(executor, marker);
      expect(await failure(reader.next())).toMatchObject({ reason: "aborted", outcome: "unknown" });
      const late = drain(sh(`echo $$ > ${marker}; sleep 300`), cat, { timeoutMs: 1_500 });
      expect(await failure(late)).toMatchObject({ reason: "timeout", outcome: "unknown" });
      await expectGone(executor, marker);
    });

    it("joins two programs, and gives arguments on as they are", async () => {
      const result = await executor.pipe(["head", "-c", String(4 * mebibyte), "/dev/zero"], ["wc", "-c"], { signal });
      expect(result).toMatchObject({ producerExitCode: 0, consumerExitCode: 0, stderr: "" });
      expect(result.stdout.trim()).toBe(String(4 * mebibyte));
      const odd = ["", "a b", "-n", "$(id)", "'\"'", "; exit 9", "line\nline", "*", "é☃"];
      const told = await executor.pipe(["printf", "%s\n", ...odd], ["sh", "-c", 'cat; printf "%s|" "$@"', "sh", ...odd], { signal });
      expect(told.stdout).toBe(`${odd.join("\n")}\n${odd.join("|")}|`);
    });

    it.each([
      [0, 0],
      [3, 0],
      [0, 4],
      [1, 1],
      [255, 2],
    ])("gives both exits back, %i and %i, with what both said", async (producer, consumer) => {
      const result = await executor.pipe(sh(`echo in; echo p >&2; exit ${producer}`), sh(`cat; echo c >&2; exit ${consumer}`), { signal });
      expect(result).toMatchObject({ producerExitCode: producer, consumerExitCode: consumer, stdout: "in\n" });
      expect(result.stderr.split("\n").filter((line) => line !== "").sort()).toEqual(["c", "p"]);
    });

    it("ends a producer whose consumer has gone, and tells of a program that is missing", async () => {
      const early = await executor.pipe(["yes"], ["head", "-n", "1"], { signal });
      expect(early).toMatchObject({ consumerExitCode: 0, stdout: "y\n" });
      expect(early.producerExitCode).not.toBe(0);
      const missing = await executor.pipe(["echo", "x"], ["zfsilo-no-such-program"], { signal });
      expect(missing).toMatchObject({ consumerExitCode: 127 });
    });

    it("ends both programs at the limit, and when the caller aborts", async () => {
      const marker = `${subject.dir}/pipe`;
      const script = sh(`echo $$ > ${marker}; sleep 300`);
      const late = executor.pipe(script, ["cat"], { signal, timeoutMs: 1_500 });
      expect(await failure(late)).toMatchObject({ reason: "timeout", outcome: "unknown" });
      await expectGone(executor, marker);
      const controller = new AbortController();
      const aborted = failure(executor.pipe(["cat", "/dev/zero"], sh(`echo $$ > ${marker}.2; sleep 300`), { signal: controller.signal }));
      await pidIn(executor, `${marker}.2`);
      controller.abort(new Error("enough"));
      expect(await aborted).toMatchObject({ reason: "aborted", outcome: "unknown" });
      await expectGone(executor, `${marker}.2`);
    });

    it("leaves nothing behind when the executor is gone", async () => {
      const other = await options.make();
      try {
        const marker = `${subject.dir}/orphan`;
        const piped = failure(other.executor.pipe(sh(`echo $$ > ${marker}; sleep 300`), cat, { signal }));
        const streamed = failure(collect(other.executor.stream(sh(`echo $$ > ${marker}.2; sleep 300`), cat, { signal })));
        await pidIn(executor, marker);
        await pidIn(executor, `${marker}.2`);
        await other.executor.close();
        for (const running of [piped, streamed]) expect(await running).toMatchObject({ reason: "unavailable", outcome: "unknown" });
        await expectGone(executor, marker);
        await expectGone(executor, `${marker}.2`);
      } finally {
        await other.close();
      }
    });
  });
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}
