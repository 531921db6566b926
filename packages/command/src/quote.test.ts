import { execFileSync, spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endGroupsLine, quoteArgument, remoteCommandLine } from "./quote.ts";

const argument = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => !text.includes("\0"));
/** Mostly what a shell finds special. */
const nasty = fc.string({ unit: fc.constantFrom("'", '"', "\\", "$", "`", "\n", " ", "!", "*", "-", "a", "(", ")", ";", "~"), maxLength: 30 });

describe("quoteArgument", () => {
  it("makes one word that sh reads as the argument itself", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(argument, nasty), { minLength: 1, maxLength: 8 }), (args) => {
        const line = `printf '%s\\0' ${args.map(quoteArgument).join(" ")}`;
        expect(execFileSync("sh", ["-c", line]).toString("utf8")).toBe(args.map((text) => `${text}\0`).join(""));
      }),
      { numRuns: 100 },
    );
  });
});

describe.each(["sh", "bash"])("remoteCommandLine in %s", (shell) => {
  const run = (...argv: [string, ...string[]]) => {
    const { stdout, status } = spawnSync(shell, ["-c", remoteCommandLine(argv)], { env: {} });
    return { stdout: stdout.toString("utf8"), status };
  };

  it("tells the process number the program will have, then becomes the program", () => {
    const { stdout, status } = run("sh", "-c", "echo $$; exit 3");
    expect(stdout).toMatch(/^zfsilo:(\d+)\n\1\n$/);
    expect(status).toBe(3);
  });

  it("hands any arguments on", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(argument, nasty), { minLength: 1, maxLength: 5 }), (args) => {
        const { stdout } = run("printf", "%s\\0", ...args);
        expect(stdout.replace(/^zfsilo:\d+\n/, "")).toBe(args.map((text) => `${text}\0`).join(""));
      }),
      { numRuns: 40 },
    );
  });

  it.each(["zfsilo-none", "", "-n", "--", "/usr", "/etc/passwd", "./none", "cd", "a b", "$(id)"])("runs nothing for %j", (program) => {
    expect(run(program, "x")).toEqual({ stdout: "zfsilo:-\n", status: 127 });
  });

  it("prefers a program to a builtin of the same name", () => {
    expect(run("printf", "--version").stdout).toContain("coreutils");
  });
});

describe("endGroupsLine", () => {
  it("takes numbers only", () => {
    const line = endGroupsLine([12, 345]);
    expect(line).toContain("for g in -12 -345;");
    expect(spawnSync("sh", ["-n", "-c", line]).status).toBe(0);
  });
});
