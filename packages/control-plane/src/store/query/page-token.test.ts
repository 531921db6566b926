import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageTokens } from "./page-token.ts";

const tokens = new PageTokens(Buffer.alloc(32, 1));
const scope = { kind: "volumes", filter: "a = b", order: "name asc" };
const refused = expect.objectContaining({ reason: "invalid_argument", details: { field: "page_token" } }) as Error;

describe("page tokens", () => {
  it("come back as they were, whatever the keys hold", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string(), (value, id) => {
        expect(tokens.decode(scope, tokens.encode(scope, { value, id }))).toEqual({ value, id });
      }),
    );
  });

  it.each([
    ["another list", { ...scope, kind: "hosts" }],
    ["another filter", { ...scope, filter: "a = c" }],
    ["another order", { ...scope, order: "name desc" }],
  ])("are refused by %s", (_what, other) => {
    const token = tokens.encode(scope, { value: "v", id: "i" });
    expect(() => tokens.decode(other, token)).toThrow(refused);
  });

  it("are refused from another installation", () => {
    const foreign = new PageTokens(Buffer.alloc(32, 2)).encode(scope, { value: "v", id: "i" });
    expect(() => tokens.decode(scope, foreign)).toThrow(refused);
  });

  it("are refused when any character differs", () => {
    const token = tokens.encode(scope, { value: "value", id: "vol_a" });
    for (let index = 0; index < token.length; index += 1) {
      const other = token[index] === "A" ? "B" : "A";
      const forged = token.slice(0, index) + other + token.slice(index + 1);
      expect(() => tokens.decode(scope, forged)).toThrow(refused);
    }
    for (const forged of [`${token}=`, `${token}A`, token.slice(0, -1), " ", "!", "x".repeat(5000)]) {
      expect(() => tokens.decode(scope, forged)).toThrow(refused);
    }
  });
});
