import { assertNever } from "@zfsilo/lib";
import { capacityColumn } from "../column.ts";
import { badFilter, type Comparator, type Comparison, type Filter } from "./filter.ts";

/** What a field of a filter compares with. Columns are ours, never a caller's text. */
export type Field =
  | { readonly type: "string"; readonly column: string }
  /** A resource name such as hosts/hst_give; the column holds what follows the prefix. */
  | { readonly type: "resource"; readonly column: string; readonly prefix: string }
  | { readonly type: "int64"; readonly column: string }
  | { readonly type: "bool"; readonly column: string }
  | { readonly type: "timestamp"; readonly column: string }
  /** API value (in capitals, without the enum's prefix) to stored value. */
  | { readonly type: "enum"; readonly column: string; readonly prefix: string; readonly values: Readonly<Record<string, string>> }
  | { readonly type: "labels"; readonly column: string };

export type Fields = Readonly<Record<string, Field>>;

export interface Condition {
  readonly sql: string;
  readonly parameters: readonly (string | number)[];
}

export function compileFilter(filter: Filter, fields: Fields): Condition {
  switch (filter.kind) {
    case "and":
    case "or": {
      const terms = filter.terms.map((term) => compileFilter(term, fields));
      return {
        sql: `(${terms.map(({ sql }) => sql).join(filter.kind === "and" ? " and " : " or ")})`,
        parameters: terms.flatMap(({ parameters }) => parameters),
      };
    }
    case "not": {
      const term = compileFilter(filter.term, fields);
      return { sql: `not (${term.sql})`, parameters: term.parameters };
    }
    case "comparison":
      return compileComparison(filter, fields);
    default:
      return assertNever(filter);
  }
}

function compileComparison(comparison: Comparison, fields: Fields): Condition {
  const field = Object.hasOwn(fields, comparison.field) ? fields[comparison.field] : undefined;
  if (field === undefined) {
    throw badFilter(comparison.position, `no field ${comparison.field}; there are ${Object.keys(fields).join(", ")}`);
  }
  if (field.type === "labels") return compileLabels(comparison, field.column);
  if (comparison.key !== undefined) throw badFilter(comparison.position, `${comparison.field} has no parts`);
  if (comparison.any) return compilePresence(comparison, field);
  switch (field.type) {
    case "string":
      return compileText(comparison, field.column, comparison.value);
    case "resource":
      return compileText(comparison, field.column, resourceId(comparison, field.prefix));
    case "int64":
      return ordered(comparison, field.column, int64Value(comparison));
    case "timestamp":
      return ordered(comparison, field.column, timestampValue(comparison));
    case "bool":
      return equality(comparison, field.column, boolValue(comparison));
    case "enum":
      return equality(comparison, field.column, enumValue(comparison, field.prefix, field.values));
    default:
      return assertNever(field);
  }
}

/** `labels:key` and `labels.key:*`: has the key. `labels.key = v` and `labels.key:v`: has it with that value. `!=`: has not. */
function compileLabels({ key, comparator, value, any, position }: Comparison, column: string): Condition {
  const has = `exists (select 1 from json_each(${column}) where "key" = ?`;
  if (key === undefined) {
    if (comparator !== ":") throw badFilter(position, "write labels:KEY, or labels.KEY = VALUE");
    return any ? { sql: `${column} <> '{}'`, parameters: [] } : { sql: `${has})`, parameters: [value] };
  }
  if (any) {
    if (comparator !== ":") throw badFilter(position, "* goes with : alone");
    return { sql: `${has})`, parameters: [key] };
  }
  if (comparator === "=" || comparator === ":") return { sql: `${has} and "value" = ?)`, parameters: [key, value] };
  if (comparator === "!=") return { sql: `not ${has} and "value" = ?)`, parameters: [key, value] };
  throw badFilter(position, `labels are compared with =, != and :, not ${comparator}`);
}

function compilePresence({ comparator, position, field: name }: Comparison, field: Field): Condition {
  if (comparator !== ":") throw badFilter(position, "* goes with : alone");
  if (field.type !== "string" && field.type !== "timestamp") throw badFilter(position, `${name} is always set`);
  return { sql: `${field.column} <> ''`, parameters: [] };
}

/** `:` on text: contains, letter case included. */
function compileText(comparison: Comparison, column: string, value: string): Condition {
  if (comparison.comparator === ":") return { sql: `instr(${column}, ?) > 0`, parameters: [value] };
  return ordered(comparison, column, value);
}

function ordered({ comparator, field, position }: Comparison, column: string, value: string): Condition {
  if (comparator === ":") throw badFilter(position, `: does not go with ${field}`);
  return { sql: `${column} ${sqlOperator[comparator]} ?`, parameters: [value] };
}

function equality({ comparator, field, position }: Comparison, column: string, value: string | number): Condition {
  if (comparator !== "=" && comparator !== "!=") {
    throw badFilter(position, `${field} is compared with = and !=, not ${comparator}`);
  }
  return { sql: `${column} ${sqlOperator[comparator]} ?`, parameters: [value] };
}

const sqlOperator = {
  "=": "=",
  "!=": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
} as const satisfies Record<Exclude<Comparator, ":">, string>;

function resourceId({ value, field, comparator, position }: Comparison, prefix: string): string {
  if (value.startsWith(prefix)) return value.slice(prefix.length);
  if (comparator === ":") return value;
  throw badFilter(position, `${field} is compared with a name that begins with ${prefix}`);
}

function int64Value({ value, field, position }: Comparison): string {
  const number = /^\d{1,19}$/.test(value) ? BigInt(value) : -1n;
  if (number < 0n || number >= 2n ** 63n) throw badFilter(position, `${field} is compared with a whole number from 0 to 2^63-1`);
  return capacityColumn(number);
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

function timestampValue({ value, field, position }: Comparison): string {
  const time = rfc3339.test(value) ? new Date(value) : undefined;
  if (time === undefined || Number.isNaN(time.getTime())) {
    throw badFilter(position, `${field} is compared with a time such as "2026-01-31T12:00:00Z", in quotes`);
  }
  return time.toISOString();
}

function boolValue({ value, field, position }: Comparison): number {
  if (value !== "true" && value !== "false") throw badFilter(position, `${field} is true or false`);
  return value === "true" ? 1 : 0;
}

function enumValue({ value, field, position }: Comparison, prefix: string, values: Readonly<Record<string, string>>): string {
  const short = value.startsWith(prefix) ? value.slice(prefix.length) : value;
  const stored = Object.hasOwn(values, short) ? values[short] : undefined;
  if (stored === undefined) throw badFilter(position, `${field} is one of ${Object.keys(values).join(", ")}`);
  return stored;
}
