import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileOperation } from "./executor.ts";
import { decodeAnswer, decodeField, encodeBatch, encodeField } from "./file-worker-protocol.ts";

const text = fc.string({ unit: "binary", maxLength: 100 });

describe("fields", () => {
  it("carry any text, in characters that separate nothing", () => {
    fc.assert(
      fc.property(text, (original) => {
        const field = encodeField(original);
        expect(field).toMatch(/^[A-Za-z0-9_./:%-]*$/);
        expect(decodeField(field)).toBe(original);
      }),
    );
  });
});

describe("encodeBatch", () => {
  it("makes one line", () => {
    const operations: FileOperation[] = [
      { op: "mkdir", path: "/a b", tolerate: ["EEXIST", "E512"] },
      { op: "write", path: "/f", content: "x,y\n%", create: { mode: 0o600 } },
      { op: "write", path: "/f", content: "" },
      { op: "symlink", path: "/l", target: "/t" },
      { op: "read", path: "/f", maxBytes: 10 },
    ];
    expect(encodeBatch(7, operations)).toBe(
      "7 mkdir,17:512,/a%20b,493 write,,/f,x%2cy%0a%25,384 write,,/f,, symlink,,/l,/t read,,/f,10\n",
    );
  });
});

describe("decodeAnswer", () => {
  const operations: FileOperation[] = [{ op: "mkdir", path: "/d" }, { op: "list", path: "/d" }, { op: "read-glob", path: "/d/*" }, { op: "read", path: "/f" }];

  it("gives each operation its result", () => {
    expect(decodeAnswer(1, operations, "1 ~17 +,a,b%20c +,/d/a,x,/d/b, +,")).toEqual({
      ok: true,
      results: [{ errno: "EEXIST" }, { entries: ["a", "b c"] }, { files: [["/d/a", "x"], ["/d/b", ""]] }, { text: "" }],
    });
    expect(decodeAnswer(1, operations, "1 + + + +,x")).toMatchObject({ results: [{}, { entries: [] }, { files: [] }, { text: "x" }] });
  });

  it("gives the failure and its place", () => {
    expect(decodeAnswer(1, operations, "1 + !512")).toEqual({ ok: false, index: 1, errno: "E512" });
  });

  it.each([
    ["another batch", "2 + + + +,x"],
    ["too few results", "1 + +"],
    ["too many results", "1 + + + +,x +"],
    ["an unknown result", "1 ?"],
    ["no text", "1 + + + +"],
    ["an errno that is none", "1 !x"],
    ["nothing", ""],
    ["noise", "bash: warning: something"],
  ])("refuses %s", (_name, line) => {
    expect(() => decodeAnswer(1, operations, line)).toThrow("unexpected answer");
  });

  it("does not show what the answer says", () => {
    expect(() => decodeAnswer(1, operations, "1 + + + +,x +,hunter2")).not.toThrow("hunter2");
  });
});
