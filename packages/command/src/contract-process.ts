import { StorageError, waitFor } from "@zfsilo/lib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CommandError } from "./command-error.ts";
import type { ContractOptions, ContractSubject } from "./contract.ts";
import type { Argv, Executor } from "./executor.ts";

const defaultRuns = 50;

/** Running programs: exits, arguments, streams, limits and what is left of the process group. */
export function processContract(options: ContractOptions): void {
  const runs = options.runs ?? defaultRuns;

  describe(`${options.name}: processes`, () => {
    let subject: ContractSubject;
    let executor: Executor;
    const { signal } = new AbortController();
    const sh = (script: string): Argv => ["sh", "-c", script];

    beforeAll(async () => {
      subject = await options.make();
      executor = subject.executor;
    });
    afterAll(async () => {
      await subject.close();
    });

    it.each([0, 1, 2, 126, 127, 255])("gives exit code %i back as data", async (code) => {
      const result = await executor.run(sh(`echo out; echo err >&2; exit ${code}`), { signal });
      expect(result).toEqual({ exitCode: code, stdout: "out\n", stderr: "err\n" });
    });

    it("gives a death by signal back as 128 and its number", async () => {
      expect((await executor.run(sh("kill -TERM $$"), { signal })).exitCode).toBe(143);
    });

    it("passes standard input and closes it", async () => {
      const stdin = `${"line é ☃\n".repeat(20_000)}end without newline`;
      expect((await executor.run(["cat"], { signal, stdin })).stdout).toBe(stdin);
      expect((await executor.run(["cat"], { signal })).stdout).toBe("");
    });

    it("does not mind a program that leaves its input unread", async () => {
      const result = await executor.run(["true"], { signal, stdin: "x".repeat(1024 * 1024) });
      expect(result.exitCode).toBe(0);
    });

    it("runs in the C locale, with the sbin directories in PATH", async () => {
      const { stdout } = await executor.run(sh('echo "$LC_ALL"; echo "$PATH"'), { signal });
      const [locale, path = ""] = stdout.split("\n");
      expect(locale).toBe("C");
      expect(path.split(":")).toEqual(expect.arrayContaining(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]));
    });

    it.each([
      ["spaces", "a b  c "],
      ["quotes", `'"'"' \\" \\' \``],
      ["a command substitution", "$(echo no) `echo no` ${PATH}"],
      ["newlines", "one\ntwo\r\n\n"],
      ["shell operators", "; & | > < * ? [a] ~ # !x {a,b}"],
      ["a leading dash", "-n"],
      ["two dashes", "--"],
      ["nothing", ""],
      ["backslashes", "\\n\\\\ \\"],
      ["other scripts", "größe 空 🜁 e\u0301"],
      ["control characters", "\u0001\u0007\t\u001b[31m\u007f"],
    ])("hands an argument with %s on as it is", async (_name, argument) => {
      const { stdout } = await executor.run(["printf", "%s\\0", argument, "last"], { signal });
      expect(stdout).toBe(`${argument}\0last\0`);
    });

    it("hands any arguments on as they are", async () => {
      const argument = fc.string({ unit: "binary", maxLength: 40 }).filter((text) => !text.includes("\0"));
      await fc.assert(
        fc.asyncProperty(fc.array(argument, { minLength: 1, maxLength: 6 }), async (args) => {
          const { stdout } = await executor.run(["printf", "%s\\0", ...args], { signal });
          expect(stdout).toBe(args.map((text) => `${text}\0`).join(""));
        }),
        { numRuns: runs },
      );
    });

    it("refuses an argument with a NUL, which would be cut", async () => {
      const error = await failure(executor.run(["printf", "a\0b"], { signal }));
      expect(error).toMatchObject({ reason: "invalid_argument", outcome: "not_started" });
    });

    it.each([
      ["a name", ["zfsilo-no-such-program", "x"] as const],
      ["a path", ["/nonexistent/program"] as const],
      ["a directory", ["/usr"] as const],
      ["a name that looks like an option", ["--version"] as const],
      ["an empty name", [""] as const],
    ])("says that a program given by %s was not started", async (_name, argv) => {
      const error = await failure(executor.run([...argv] as unknown as Argv, { signal }));
      expect(error.outcome).toBe("not_started");
      expect(error.reason).not.toBe("not_found");
      expect(error.argv).toEqual(argv);
      if (argv[0] === "zfsilo-no-such-program") expect(error.hint).toContain("zfsilo-no-such-program");
    });

    it("keeps output up to the limit and ends the command above it", async () => {
      const bytes = (count: number) => executor.run(sh(`head -c ${count} /dev/zero`), { signal, maxOutputBytes: 10_000 });
      expect((await bytes(10_000)).stdout).toHaveLength(10_000);
      expect(await failure(bytes(10_001))).toMatchObject({ reason: "internal", outcome: "unknown" });
      const endless = executor.run(sh("cat /dev/zero >&2"), { signal, maxOutputBytes: 10_000 });
      expect(await failure(endless)).toMatchObject({ outcome: "unknown" });
    });

    it("ends the whole process group at the time limit", async () => {
      const marker = `${subject.dir}/timeout`;
      const call = executor.run(sh(`sleep 300 & echo $! > ${marker}; sleep 301`), { signal, timeoutMs: 1_500 });
      expect(await failure(call)).toMatchObject({ reason: "timeout", outcome: "unknown" });
      await expectGone(executor, marker);
    });

    it("ends the whole process group when aborted", async () => {
      const marker = `${subject.dir}/abort`;
      const abort = new AbortController();
      const call = executor.run(sh(`sleep 300 & echo $! > ${marker}; sleep 301`), { signal: abort.signal });
      const ended = failure(call);
      await pidIn(executor, marker);
      abort.abort(new Error("no longer wanted"));
      const error = await ended;
      expect(error).toMatchObject({ reason: "aborted", outcome: "unknown" });
      expect(error.cause).toMatchObject({ message: "no longer wanted" });
      await expectGone(executor, marker);
    });

    it("ends a process group that ignores TERM", async () => {
      const marker = `${subject.dir}/stubborn`;
      const call = executor.run(sh(`trap '' TERM; sleep 300 & echo $! > ${marker}; wait; sleep 300`), { signal, timeoutMs: 1_000 });
      expect(await failure(call)).toMatchObject({ reason: "timeout" });
      await expectGone(executor, marker);
    });

    it("does not start when aborted before", async () => {
      const call = executor.run(sh(`touch ${subject.dir}/never`), { signal: AbortSignal.abort() });
      expect(await failure(call)).toMatchObject({ reason: "aborted", outcome: "not_started" });
      expect((await executor.run(["test", "-e", `${subject.dir}/never`], { signal })).exitCode).toBe(1);
    });

    it("does not wait for a daemon that keeps the output open", async () => {
      const start = performance.now();
      const { stdout, exitCode } = await executor.run(sh("sleep 20 & echo $!"), { signal });
      expect(exitCode).toBe(0);
      expect(performance.now() - start).toBeLessThan(10_000);
      // It is left alone: ending it is nobody's business. The case cleans up behind itself.
      expect((await executor.run(["kill", stdout.trim()], { signal })).exitCode).toBe(0);
    });

    it("runs thirty commands asked for at once", async () => {
      const all = Array.from({ length: 30 }, (_, index) => executor.run(sh(`sleep 0.05; echo ${index}`), { signal }));
      const outputs = (await Promise.all(all)).map((result) => result.stdout.trim());
      expect(outputs).toEqual(Array.from({ length: 30 }, (_, index) => String(index)));
    });
  });

  describe(`${options.name}: closing`, () => {
    it("fails what runs as unknown, and what comes later as not started", async () => {
      const subject = await options.make();
      try {
        const { executor, dir } = subject;
        const signal = new AbortController().signal;
        const running = failure(executor.run(["sh", "-c", `echo $$ > ${dir}/closing; sleep 30`], { signal }));
        await pidIn(executor, `${dir}/closing`);
        await executor.close();
        expect(await running).toMatchObject({ reason: "unavailable", outcome: "unknown" });
        expect(await failure(executor.run(["true"], { signal }))).toMatchObject({ reason: "unavailable", outcome: "not_started" });
      } finally {
        await subject.close();
      }
    });
  });
}

export async function failure(call: Promise<unknown>): Promise<CommandError> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(CommandError);
  expect(error).toBeInstanceOf(StorageError);
  return error as CommandError;
}

export async function pidIn(executor: Executor, marker: string): Promise<string> {
  const signal = new AbortController().signal;
  return await waitFor(`a process number in ${marker}`, async () => {
    const [result] = await executor.files([{ op: "read", path: marker, tolerate: ["ENOENT"] }], { signal });
    return result?.text?.endsWith("\n") === true ? result.text.trim() : undefined;
  }, signal);
}

/** A zombie counts as gone: reaping it is up to the host's init. */
export async function expectGone(executor: Executor, marker: string): Promise<void> {
  const signal = new AbortController().signal;
  const pid = await pidIn(executor, marker);
  await waitFor(`the end of process ${pid}`, async () => {
    const [result] = await executor.files([{ op: "read", path: `/proc/${pid}/stat`, tolerate: ["ENOENT", "ESRCH"] }], { signal });
    return result?.text === undefined || / [ZX] /.test(result.text) ? true : undefined;
  }, signal);
}
