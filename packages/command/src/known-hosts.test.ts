import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fingerprint, keyType, knownKeysFor } from "./known-hosts.ts";

/** A key blob as ssh frames it: the type with its length, then anything. */
function blob(type: string, rest: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(rest)]);
}

const ed = blob("ssh-ed25519", "first");
const rsa = blob("ssh-rsa", "second");
const other = blob("ssh-ed25519", "other");
const line = (names: string, key: Buffer, marker = "") => `${marker}${names} ${keyType(key)} ${key.toString("base64")} comment\n`;

describe("knownKeysFor", () => {
  it.each([
    ["a plain name", "give", "give", 22, "known"],
    ["a name in other case", "Give", "gIVE", 22, "known"],
    ["another name", "take", "give", 22, "unknown"],
    ["one of several names", "a,give,b", "give", 22, "known"],
    ["an address", "10.9.0.2", "10.9.0.2", 22, "known"],
    ["a dot that is no wildcard", "10.9.0.2", "10a9.0.2", 22, "unknown"],
    ["a wildcard", "*.example.org", "give.example.org", 22, "known"],
    ["a single wildcard", "give?", "give", 22, "unknown"],
    ["a negated name", "*,!give", "give", 22, "unknown"],
    ["a port", "[give]:2222", "give", 2222, "known"],
    ["another port", "[give]:2222", "give", 2223, "unknown"],
    ["a name without the port", "give", "give", 2222, "unknown"],
    ["a port that was not asked for", "[give]:2222", "give", 22, "unknown"],
    ["an IPv6 address", "fd00::2", "fd00::2", 22, "known"],
    ["an IPv6 address with a port", "[fd00::2]:2222", "fd00::2", 2222, "known"],
  ])("matches %s", (_name, names, address, port, verdict) => {
    expect(knownKeysFor(line(names, ed), address, port).check(ed)).toBe(verdict);
  });

  it("calls another key of a known host changed, also one of another type", () => {
    const known = knownKeysFor(line("give", ed), "give", 22);
    expect(known.check(other)).toBe("changed");
    expect(known.check(rsa)).toBe("changed");
  });

  it("takes several keys of several types", () => {
    const known = knownKeysFor(line("give", ed) + line("give", rsa) + line("give", other), "give", 22);
    expect(known.types).toEqual(["ssh-ed25519", "ssh-rsa"]);
    expect([ed, rsa, other].map((key) => known.check(key))).toEqual(["known", "known", "known"]);
  });

  it("refuses a revoked key, and takes no key from a certificate authority's line", () => {
    const text = line("give", ed) + line("*", ed, "@revoked ") + line("give", rsa, "@cert-authority ");
    const known = knownKeysFor(text, "give", 22);
    expect(known.check(ed)).toBe("revoked");
    expect(known.check(rsa)).toBe("changed");
  });

  it("skips comments, blank and broken lines", () => {
    const text = `# give ssh-ed25519 ${ed.toString("base64")}\n\n   \ngive\n@revoked\n|1|x ssh-ed25519 y\n${line("give", ed)}`;
    expect(knownKeysFor(text, "give", 22).check(ed)).toBe("known");
    expect(knownKeysFor("", "give", 22).check(ed)).toBe("unknown");
  });

  it("reads names that ssh-keygen hashed, and prints fingerprints as it does", () => {
    const dir = mkdtempSync(join(tmpdir(), "zfsilo-known-"));
    try {
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(dir, "key")]);
      const [type = "", base64 = ""] = readFileSync(join(dir, "key.pub"), "utf8").split(" ");
      const file = join(dir, "known_hosts");
      writeFileSync(file, `[give]:2222 ${type} ${base64}\n`);
      execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "ignore" });
      const key = Buffer.from(base64, "base64");
      const text = readFileSync(file, "utf8");
      expect(knownKeysFor(text, "give", 2222).check(key)).toBe("known");
      expect(knownKeysFor(text, "give", 22).check(key)).toBe("unknown");
      expect(execFileSync("ssh-keygen", ["-l", "-f", join(dir, "key.pub")]).toString()).toContain(fingerprint(key));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
