import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { knownHostsLine, quoteWord, sshArguments } from "./ssh.ts";

const address = {
  host: "127.0.0.1",
  port: 9000,
  user: "root",
  privateKeyPath: "/k",
  knownHostsPath: "/kh",
} as const;

describe("sshArguments", () => {
  it("checks the host key against our file alone, and asks nobody anything", () => {
    const words = sshArguments(address).join(" ");
    for (const option of ["StrictHostKeyChecking=yes", "UserKnownHostsFile=/kh", "GlobalKnownHostsFile=/dev/null", "BatchMode=yes"]) {
      expect(words).toContain(`-o ${option}`);
    }
    expect(words).toMatch(/^ssh -F none .* -p 9000 root@127\.0\.0\.1$/);
  });
});

describe("knownHostsLine", () => {
  it("names the port, as ssh writes servers on a port of their own", () => {
    expect(knownHostsLine(9000, "ssh-ed25519 AAAA")).toBe("[127.0.0.1]:9000 ssh-ed25519 AAAA\n");
  });
});

describe("quoteWord", () => {
  it("reaches the program as it was, whatever it holds", () => {
    const words = fc.array(fc.string({ unit: "binary" }).filter((word) => !word.includes("\0")), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(words, (list) => {
        const line = `printf '%s\\0' ${list.map(quoteWord).join(" ")}`;
        const seen = execFileSync("sh", ["-c", line], { encoding: "utf8" }).split("\0").slice(0, -1);
        expect(seen).toEqual(list);
      }),
      { numRuns: 60 },
    );
  });
});
