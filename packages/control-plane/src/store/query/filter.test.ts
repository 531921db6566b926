import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFilter, type Fields } from "./filter-sql.ts";
import { parseFilter } from "./filter.ts";

const fields: Fields = {
  name: { type: "resource", column: "id", prefix: "volumes/" },
  title: { type: "string", column: "title" },
  labels: { type: "labels", column: "labels" },
  size: { type: "int64", column: "size" },
  sparse: { type: "bool", column: "sparse" },
  status: { type: "enum", column: "status", prefix: "STATUS_", values: { ON: "on", OFF: "off" } },
  time: { type: "timestamp", column: "time" },
};

const compile = (text: string): { sql: string; parameters: readonly unknown[] } => compileFilter(parseFilter(text)!, fields);

describe("filters", () => {
  it.each([
    ['title = "a b"', "title = ?", ["a b"]],
    ["title = 'it\\'s'", "title = ?", ["it's"]],
    ['title != "*"', "title <> ?", ["*"]],
    ["title:part", "instr(title, ?) > 0", ["part"]],
    ["title:*", "title <> ''", []],
    ["name = volumes/vol_a", "id = ?", ["vol_a"]],
    ["name:vol", "instr(id, ?) > 0", ["vol"]],
    ["size >= 5", "size >= ?", ["0000000000000000005"]],
    ["size<9223372036854775807", "size < ?", ["9223372036854775807"]],
    ["sparse = true", "sparse = ?", [1]],
    ["status != OFF", "status <> ?", ["off"]],
    ["status = STATUS_ON", "status = ?", ["on"]],
    ['time > "2026-01-31T13:00:00+01:00"', "time > ?", ["2026-01-31T12:00:00.000Z"]],
    ["labels:team", `exists (select 1 from json_each(labels) where "key" = ?)`, ["team"]],
    ["labels.a.b/c:*", `exists (select 1 from json_each(labels) where "key" = ?)`, ["a.b/c"]],
    ['labels."odd key" = x', `exists (select 1 from json_each(labels) where "key" = ? and "value" = ?)`, ["odd key", "x"]],
    ["labels.a != x", `not exists (select 1 from json_each(labels) where "key" = ? and "value" = ?)`, ["a", "x"]],
    ["title = a AND size > 1 AND sparse = false", "(title = ? and size > ? and sparse = ?)", ["a", "0000000000000000001", 0]],
    ["(title = a OR title = b) AND NOT sparse = true", "((title = ? or title = ?) and not (sparse = ?))", ["a", "b", 1]],
  ])("%s", (text, sql, parameters) => {
    expect(compile(text)).toEqual({ sql, parameters });
  });

  it.each(["", "   ", "\t\n"])("nothing in %j", (text) => {
    expect(parseFilter(text)).toBeUndefined();
  });

  it.each([
    ["colour = red", "no field colour", 1],
    ["constructor = x", "no field constructor", 1],
    ["title", "expected one of", 6],
    ["title =", "expected a value", 8],
    ["title = a b", "expected AND, OR or the end, found b", 11],
    ['title = "a', "a quoted string does not end", 9],
    ["title = a; drop table volumes", "unexpected ;", 10],
    ["title = a AND", "expected the name of a field", 14],
    ["(title = a", "expected )", 11],
    ["title = a)", "found )", 10],
    ["title = a AND title = b OR title = c", "AND and OR are mixed", 25],
    ["title.part = a", "title has no parts", 1],
    ["size = -1", "unexpected -", 8],
    ["size = ten", "whole number", 1],
    ["size = 9223372036854775808", "whole number", 1],
    ["size:1", ": does not go with size", 1],
    ["sparse = yes", "true or false", 1],
    ["sparse > true", "compared with = and !=", 1],
    ["status = MAYBE", "one of ON, OFF", 1],
    ["status:*", "always set", 1],
    ["time = yesterday", "a time such as", 1],
    ['time = "2026-13-01T00:00:00Z"', "a time such as", 1],
    ["labels = x", "write labels:KEY", 1],
    ["labels.a > x", "compared with =, != and :", 1],
    ["labels. = x", "expected a key", 9],
    ["name = vol_a", "begins with volumes/", 1],
    ["title = *", "* goes with : alone", 1],
  ])("refuses %s at its place", (text, problem, position) => {
    expect(() => compile(text)).toThrow(expect.objectContaining({ reason: "invalid_argument", details: { field: "filter" } }));
    expect(() => compile(text)).toThrow(problem);
    expect(() => compile(text)).toThrow(`at character ${position}`);
  });

  it("is bounded in length, terms and depth", () => {
    expect(() => compile(`title = ${"a".repeat(2048)}`)).toThrow("longer than 2048");
    const many = (count: number): string => Array.from({ length: count }, () => "title = a").join(" OR ");
    expect(compile(many(50)).parameters).toHaveLength(50);
    expect(() => compile(many(51))).toThrow("more than 50 comparisons");
    const deep = (levels: number): string => `${"(".repeat(levels)}title = a${")".repeat(levels)}`;
    expect(compile(deep(20)).sql).toBe("title = ?");
    expect(() => compile(deep(21))).toThrow("more than 20 levels");
    expect(() => compile(`${"NOT ".repeat(200)}title = a`)).toThrow("more than 20 levels");
  });

  it("never lets a caller's text into the statement", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), (value) => {
        const quoted = `"${value.replaceAll(/["\\]/g, "\\$&")}"`;
        expect(compile(`title = ${quoted}`)).toEqual({ sql: "title = ?", parameters: [value] });
      }),
    );
  });

  it("answers any text with a filter or with invalid_argument", () => {
    const pieces = fc.constantFrom("title", "size", "labels", ".", "=", "<", ":", "AND", "OR", "NOT", "(", ")", '"', "'", "*", "a", "1", " ", "\\", "-");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        try {
          const filter = parseFilter(parts.join(""));
          if (filter !== undefined) compileFilter(filter, fields);
        } catch (error) {
          expect(error).toMatchObject({ reason: "invalid_argument", details: { field: "filter" } });
        }
      }),
      { numRuns: 500 },
    );
  });
});
