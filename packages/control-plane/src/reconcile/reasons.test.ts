import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { differenceReasons } from "./compare.ts";

const page = await readFile(new URL("../../../../docs/operations.md", import.meta.url), "utf8");
const section = (title: string): string => new RegExp(`^## ${title}\n([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, "m").exec(page)?.[1] ?? "";
/** Reasons in the first column of the tables of a section. */
const told = (title: string): string[] =>
  [...section(title).matchAll(/^\| ([A-Z_, ]+)[^|]*\|/gm)].flatMap(([, cell = ""]) => cell.split(",").map((word) => word.trim())).filter((word) => word !== "");

async function hostReasons(): Promise<ReadonlySet<string>> {
  const source = await readFile(new URL("host-condition.ts", import.meta.url), "utf8");
  return new Set([...source.matchAll(/"([A-Z]+_[A-Z_]+)"/g)].flatMap(([, reason = ""]) => (reason === "HOST_" ? [] : [reason])));
}

describe("docs/operations.md", () => {
  const ofHosts = told("Conditions of hosts");

  it.each(differenceReasons)("tells an operator what %s means", (reason) => {
    const ofVolumes = [...told("How zfsilo puts things right"), ...told("Conditions of volumes")];
    expect([...ofVolumes, ...ofHosts]).toContain(reason);
  });

  it("tells of no reason that does not exist", async () => {
    const all: readonly string[] = [...differenceReasons, ...(await hostReasons())];
    for (const title of ["How zfsilo puts things right", "Conditions of volumes", "Conditions of hosts"]) {
      for (const reason of told(title)) expect(all).toContain(reason);
    }
  });

  it("tells of every condition that a host can have", async () => {
    const reasons = await hostReasons();
    expect(reasons.size).toBeGreaterThan(3);
    for (const reason of reasons) expect(ofHosts).toContain(reason);
  });
});
