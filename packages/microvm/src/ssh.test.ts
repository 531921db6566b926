import { describe, expect, it } from "vitest";
import { knownHostsLine, sshArguments } from "./ssh.ts";

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
