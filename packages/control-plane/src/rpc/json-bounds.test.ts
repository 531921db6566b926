import { Code } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { boundedJson, maxJsonDepth, maxJsonElements } from "./json-bounds.ts";

const decode = (text: string): string => boundedJson.decode(Buffer.from(text));

describe("bounds of JSON", () => {
  it.each(['{"name":"volumes/a"}', "[]", '"', '"\\', '{"a":"\\"[[[","b":["ü",{}]}', "]]]]", ""])("%j passes as it is", (text) => {
    expect(decode(text)).toBe(text);
  });

  it.each([
    ["deep", "[".repeat(maxJsonDepth + 1)],
    ["deep in objects", '{"a":'.repeat(maxJsonDepth + 1)],
    ["many objects", `[${"{},".repeat(maxJsonElements)}{}]`],
    ["many numbers", `[${"1,".repeat(maxJsonElements)}1]`],
  ])("what is %s is refused", (_what, text) => {
    expect(() => decode(text)).toThrow(expect.objectContaining({ code: Code.ResourceExhausted }) as Error);
  });

  it("brackets and commas in strings do not count", () => {
    const text = JSON.stringify({ name: "[,{".repeat(maxJsonElements), escaped: '\\"['.repeat(maxJsonElements) });
    expect(decode(text)).toBe(text);
  });

  it("takes as much depth and as many elements as it says", () => {
    const deep = `${"[".repeat(maxJsonDepth)}${"]".repeat(maxJsonDepth)}`;
    const many = `[${"1,".repeat(maxJsonElements - 1)}1]`;
    for (const text of [deep, many]) expect(decode(text)).toBe(text);
  });
});
