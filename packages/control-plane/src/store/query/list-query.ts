import { invalidField } from "@zfsilo/lib";
import type { Page, PageRequest } from "../stores.ts";
import { compileFilter, type Condition, type Fields } from "./filter-sql.ts";
import { parseFilter } from "./filter.ts";
import { parseOrderBy, type Order, type Orders } from "./order-by.ts";
import type { PageTokens } from "./page-token.ts";

const defaultPageSize = 50;
const maxPageSize = 1000;
const maxPageBytes = 2 << 20;
/** What a message holds besides texts. */
const bytesOfNumbers = 256;

export interface ListOf {
  /** Plural, as in resource names. */
  readonly kind: string;
  readonly table: string;
  readonly fields: Fields;
  readonly orders: Orders;
  readonly defaultOrder: string;
  /** SQL that every row of the list meets. */
  readonly always?: string;
}

export interface ListQuery {
  /** `select * from ... limit n+1`, in the order of the page. */
  readonly sql: string;
  readonly parameters: readonly (string | number)[];
  /** The `order by` of `sql`, for a statement around it. */
  readonly orderSql: (alias: string) => string;
  readonly page: <Row extends { id: string }, T>(rows: readonly Row[], read: (row: Row) => T) => Page<T>;
}

/**
 * Pages by key: a page begins behind the last row of the one before, so that rows that come and go meanwhile neither
 * repeat nor hide others, and the last page costs what the first does. One row more than asked for tells whether there is
 * a next page.
 */
export function listQuery(list: ListOf, request: PageRequest, tokens: PageTokens): ListQuery {
  const size = pageSize(request.pageSize);
  const order = parseOrderBy(request.orderBy, list.orders, list.defaultOrder);
  const filter = compiledFilter(request.filter, list.fields);
  const scope = { kind: list.kind, filter: request.filter, order: `${order.field} ${order.descending ? "desc" : "asc"}` };

  const conditions: Condition[] = [];
  if (list.always !== undefined) conditions.push({ sql: list.always, parameters: [] });
  if (filter !== undefined) conditions.push(filter);
  if (request.pageToken !== "") conditions.push(behind(order, tokens.decode(scope, request.pageToken)));
  const where = conditions.length === 0 ? "" : ` where ${conditions.map(({ sql }) => sql).join(" and ")}`;

  return {
    sql: `select * from ${list.table}${where} order by ${orderSql(order, "")} limit ${size + 1}`,
    parameters: conditions.flatMap(({ parameters }) => parameters),
    orderSql: (alias) => orderSql(order, `${alias}.`),
    page: (rows, read) => {
      const items = rows.slice(0, fitting(rows.slice(0, size)));
      const last = rows.length > items.length ? items.at(-1) : undefined;
      const nextPageToken = last === undefined ? "" : tokens.encode(scope, { value: columnOf(last, order), id: last.id });
      return { items: items.map(read), nextPageToken };
    },
  };
}

export function compiledFilter(filter: string, fields: Fields): Condition | undefined {
  const parsed = parseFilter(filter);
  return parsed && compileFilter(parsed, fields);
}

/**
 * How many of these rows one answer takes: gRPC clients refuse messages above 4 MiB, and a message is at most half as large again as
 * what its row holds. One row always fits.
 */
function fitting(rows: readonly object[]): number {
  let bytes = 0;
  const above = rows.findIndex((row) => {
    bytes += rowBytes(row);
    return bytes > maxPageBytes;
  });
  return above < 0 ? rows.length : Math.max(1, above);
}

/** With the rows that stand inside of it, as a volume's attachments do. */
function rowBytes(row: object): number {
  let bytes = bytesOfNumbers;
  for (const value of Object.values(row) as unknown[]) {
    if (typeof value === "string") bytes += Buffer.byteLength(value);
    else if (Array.isArray(value)) for (const part of value) bytes += typeof part === "object" && part !== null ? rowBytes(part as object) : 0;
  }
  return bytes;
}

function pageSize(asked: number): number {
  if (asked < 0) throw invalidField("page_size", "is negative");
  return asked === 0 ? defaultPageSize : Math.min(asked, maxPageSize);
}

/** Ids break ties in the direction of the order, so that one index serves both. */
function orderSql({ column, descending }: Order, prefix: string): string {
  const direction = descending ? " desc" : "";
  const first = column === "id" ? "" : `${prefix}${column}${direction}, `;
  return `${first}${prefix}id${direction}`;
}

function behind({ column, descending }: Order, { value, id }: { value: string; id: string }): Condition {
  const operator = descending ? "<" : ">";
  if (column === "id") return { sql: `id ${operator} ?`, parameters: [id] };
  return { sql: `(${column}, id) ${operator} (?, ?)`, parameters: [value, id] };
}

function columnOf(row: object, { column }: Order): string {
  return String((row as Record<string, unknown>)[column]);
}
