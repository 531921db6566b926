import { describe, expect, it } from "vitest";
import { hostIdOfNode, nodeNameMatches } from "./node-host.ts";

describe("hostIdOfNode", () => {
  it.each(["worker-1", "a", "node0"])("keeps %s", (name) => {
    expect(hostIdOfNode(name)).toBe(name);
  });

  it.each([
    ["ip-10-0-0-1.eu.example", /^ip-10-0-0-1-eu-example_[0-9a-f]{10}$/],
    ["10-0-0-1", /^n-10-0-0-1_[0-9a-f]{10}$/],
    ["Worker-1", /^worker-1_[0-9a-f]{10}$/],
    [`${"x".repeat(250)}.a`, /^x{52}_[0-9a-f]{10}$/],
  ])("brings %s into the form of an id", (name, form) => {
    expect(hostIdOfNode(name)).toMatch(form);
  });

  it("gives no two nodes one host", () => {
    const names = ["a.b", "a-b", "A.b", "a_b", `${"x".repeat(100)}1`, `${"x".repeat(100)}2`];
    expect(new Set(names.map(hostIdOfNode)).size).toBe(names.length);
  });
});

describe("nodeNameMatches", () => {
  it.each([
    ["*", "anything.at.all", true],
    ["worker-*", "worker-1", true],
    ["worker-*", "my-worker-1", false],
    ["*.example", "a.example", true],
    ["*.example", "aXexample", false],
    ["a", "a", true],
    ["a", "ab", false],
    ["[ab]*", "a", false],
    ["", "", true],
    ["**", "", true],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["*ab", "aab", true],
    ["a*", "b", false],
  ])("%s on %s: %s", (pattern, name, matches) => {
    expect(nodeNameMatches(pattern, name)).toBe(matches);
  });

  it("matches as the regular expression that it stands for", () => {
    const words = ["", "a", "b", "ab", "ba", "aab", "abab", "bbaab"];
    const patterns = ["*", "a*", "*a", "*a*b*", "a*b", "**b", "*ab*ab", "ab"];
    for (const pattern of patterns) {
      const expression = new RegExp(`^${pattern.replaceAll("*", ".*")}$`);
      for (const word of words) expect(nodeNameMatches(pattern, word), `${pattern} on ${word}`).toBe(expression.test(word));
    }
  });

  it("takes no time for a pattern of many stars", () => {
    const began = performance.now();
    expect(nodeNameMatches(`${"*a".repeat(120)}*b`, "a".repeat(253))).toBe(false);
    expect(performance.now() - began).toBeLessThan(200);
  });
});
