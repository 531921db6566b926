import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ContractOptions, ContractSubject } from "./contract.ts";
import { expectGone, failure } from "./contract-process.ts";
import type { Argv, Executor } from "./executor.ts";

/** Commands of a host that show what a sequence does. */
export interface SequenceWords {
  /** Two that print something and change nothing. */
  says(subject: ContractSubject): readonly [Said, Said];
  /** One that fails by its exit. */
  fails(subject: ContractSubject): { readonly argv: Argv; readonly exitCode: number };
  /** One with an effect, another for each name. */
  makes(subject: ContractSubject, name: string): Argv;
  made(subject: ContractSubject, name: string): Promise<boolean>;
  readonly missing: Argv;
}

interface Said {
  readonly argv: Argv;
  readonly stdout: string;
}

/** For every host with a POSIX userland. */
export const posixWords: SequenceWords = {
  says: () => [
    { argv: ["printf", "%s\\n\\n", "one, two"], stdout: "one, two\n\n" },
    { argv: ["printf", "%s", "no end of line"], stdout: "no end of line" },
  ],
  fails: () => ({ argv: ["sh", "-c", "echo out; echo err >&2; exit 3"], exitCode: 3 }),
  makes: ({ dir }, name) => ["mkdir", `${dir}/${name}`],
  made: async ({ executor, dir }, name) => {
    const [listed] = await executor.files([{ op: "list", path: dir }], { signal: new AbortController().signal });
    return listed?.entries?.includes(name) === true;
  },
  missing: ["zfsilo-no-such-program", "x"],
};

/** Commands one after the other: where they stop, and what is told of them. */
export function sequenceContract(options: ContractOptions, words: SequenceWords): void {
  describe(`${options.name}: sequences`, () => {
    let subject: ContractSubject;
    let executor: Executor;
    const { signal } = new AbortController();

    beforeAll(async () => {
      subject = await options.make();
      executor = subject.executor;
    });
    afterAll(async () => {
      await subject.close();
    });

    const expectUnmade = async (name: string): Promise<void> => {
      expect(await words.made(subject, name)).toBe(false);
    };

    it("runs all of it, and gives each one's result", async () => {
      const [first, second] = words.says(subject);
      const results = await executor.sequence([{ argv: first.argv }, { argv: words.makes(subject, "whole") }, { argv: second.argv }], { signal });
      expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
      expect([results[0]?.stdout, results[2]?.stdout]).toEqual([first.stdout, second.stdout]);
      expect(await words.made(subject, "whole")).toBe(true);
    });

    it("stops at the first that fails, and gives its result", async () => {
      const { argv, exitCode } = words.fails(subject);
      const [says] = words.says(subject);
      const results = await executor.sequence([{ argv: says.argv }, { argv }, { argv: words.makes(subject, "after-failure") }], { signal });
      expect(results.map((result) => result.exitCode)).toEqual([0, exitCode]);
      expect(results[1]).toEqual(await executor.run(argv, { signal }));
      await expectUnmade("after-failure");
    });

    it("goes on behind a gate that its output passes", async () => {
      const [says] = words.says(subject);
      const gates = [{ equals: says.stdout }, { without: ["something else", "$(", "*"] }];
      for (const [index, gate] of gates.entries()) {
        const results = await executor.sequence([{ argv: says.argv, gate }, { argv: words.makes(subject, `gate-${index}`) }], { signal });
        expect(results[0]?.stdout).toBe(says.stdout);
        expect(await words.made(subject, `gate-${index}`)).toBe(true);
      }
    });

    it("stops at a gate that its output does not pass", async () => {
      const [says] = words.says(subject);
      const part = says.stdout.slice(1, 4);
      const gates = [{ equals: "" }, { equals: `${says.stdout}\n` }, { equals: says.stdout.trimEnd().slice(0, -1) }, { equals: "*" }, { without: ["something else", part] }];
      for (const gate of gates) {
        const results = await executor.sequence([{ argv: says.argv, gate }, { argv: words.makes(subject, "gated") }], { signal });
        expect(results).toEqual([{ exitCode: 0, stdout: says.stdout, stderr: "" }]);
      }
      await expectUnmade("gated");
    });

    it("asks nothing of the last one's output", async () => {
      const [says] = words.says(subject);
      expect(await executor.sequence([{ argv: says.argv, gate: { equals: "another" } }], { signal })).toHaveLength(1);
    });

    it("tells a missing program from one that failed, and whether anything ran", async () => {
      const [says] = words.says(subject);
      const first = await failure(executor.sequence([{ argv: words.missing }, { argv: words.makes(subject, "missing") }], { signal }));
      expect(first).toMatchObject({ reason: "precondition", outcome: "not_started" });
      const later = await failure(executor.sequence([{ argv: says.argv }, { argv: words.missing }, { argv: words.makes(subject, "missing") }], { signal }));
      expect(later.reason).toBe("precondition");
      expect(later.hint).toContain(words.missing[0]);
      expect(later.argv.join(" ")).toBe([says.argv, words.missing, words.makes(subject, "missing")].map((argv) => argv.join(" ")).join(" && "));
      await expectUnmade("missing");
    });

    it("does not start when aborted before, or with a NUL in any of them", async () => {
      const makes = { argv: words.makes(subject, "never") };
      const aborted = await failure(executor.sequence([makes], { signal: AbortSignal.abort() }));
      expect(aborted).toMatchObject({ reason: "aborted", outcome: "not_started" });
      const bad = await failure(executor.sequence([makes, { argv: ["printf", "a\0b"] }], { signal }));
      expect(bad).toMatchObject({ reason: "invalid_argument", outcome: "not_started" });
      await expectUnmade("never");
    });
  });
}

/** What needs sh: arguments, standard input, limits. */
export function sequenceProcessContract(options: ContractOptions): void {
  describe(`${options.name}: sequences of processes`, () => {
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

    it("hands any arguments and gates on as they are", async () => {
      const argument = fc.string({ unit: "binary", maxLength: 40 }).filter((text) => !text.includes("\0"));
      await fc.assert(
        fc.asyncProperty(fc.array(argument, { minLength: 1, maxLength: 12 }), async (args) => {
          const said = `${args.join("\n")}\n`;
          const print: Argv = ["printf", "%s\\n", ...args];
          const results = await executor.sequence([{ argv: print, gate: { equals: said } }, { argv: print, gate: { without: [`${said}x`] } }, { argv: print }], { signal });
          expect(results.map(({ stdout }) => stdout)).toEqual([said, said, said]);
        }),
        { numRuns: options.runs ?? 50 },
      );
    });

    it("keeps the outputs of each apart", async () => {
      const both = (text: string) => ({ argv: sh(`printf ${text}; printf 'not ${text}' >&2`) });
      const results = await executor.sequence([both("a"), both("b"), { argv: ["true"] }, both("c")], { signal });
      expect(results.map(({ stdout, stderr }) => [stdout, stderr])).toEqual([["a", "not a"], ["b", "not b"], ["", ""], ["c", "not c"]]);
    });

    it("gives standard input to the first alone", async () => {
      const stdin = "line é\nend";
      const results = await executor.sequence([{ argv: ["cat"] }, { argv: ["cat"] }], { signal, stdin });
      expect(results.map(({ stdout }) => stdout)).toEqual([stdin, ""]);
      const gated = await executor.sequence([{ argv: ["cat"], gate: { equals: stdin } }, { argv: ["cat"] }], { signal, stdin });
      expect(gated.map(({ stdout }) => stdout)).toEqual([stdin, ""]);
    });

    it("runs programs, never what a shell has of their names", async () => {
      const echo = await executor.sequence([{ argv: ["true"] }, { argv: ["env", "echo", "-n", "x"] }, { argv: ["echo", "-n", "x"] }], { signal });
      expect(echo[2]?.stdout).toBe(echo[1]?.stdout);
      for (const name of ["eval", "exit", "export", "ran", "find-no"]) {
        const error = await failure(executor.sequence([{ argv: ["true"] }, { argv: [name, "exit 0"] }], { signal }));
        expect(error.reason).toBe("precondition");
      }
    });

    it("gives a death by signal back as 128 and its number", async () => {
      const [first] = await executor.sequence([{ argv: sh("kill -TERM $$") }, { argv: ["true"] }], { signal });
      expect(first?.exitCode).toBe(143);
    });

    it("ends what runs, and begins no other, at the time limit of all", async () => {
      const marker = `${subject.dir}/sequence`;
      const call = executor.sequence([{ argv: ["sleep", "0.2"] }, { argv: sh(`sleep 300 & echo $! > ${marker}; sleep 301`) }, { argv: ["touch", `${marker}-next`] }], { signal, timeoutMs: 1_500 });
      expect(await failure(call)).toMatchObject({ reason: "timeout", outcome: "unknown" });
      await expectGone(executor, marker);
      expect((await executor.run(["test", "-e", `${marker}-next`], { signal })).exitCode).toBe(1);
    });

    it("keeps output up to the limit of all", async () => {
      const bytes = (count: number) => ({ argv: sh(`head -c ${count} /dev/zero | tr '\\0' x`) });
      const results = await executor.sequence([bytes(4_000), bytes(6_000)], { signal, maxOutputBytes: 10_000 });
      expect(results.map(({ stdout }) => stdout.length)).toEqual([4_000, 6_000]);
      const error = await failure(executor.sequence([bytes(4_000), bytes(7_000)], { signal, maxOutputBytes: 10_000 }));
      expect(error).toMatchObject({ reason: "internal", outcome: "unknown" });
    });
  });
}
