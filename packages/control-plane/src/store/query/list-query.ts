import { invalidField } from "@zfsilo/lib";
import type { Page, PageRequest } from "../stores.ts";
import { compileFilter, type Condition, type Fields } from "./filter-sql.ts";
import { parseFilter } from "./filter.ts";
import { parseOrderBy, type Order, type Orders } from "./order-by.ts";
import type { PageTokens } from "./page-token.ts";

const defaultPageSize = 50;
const maxPageSize = 1000;

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
      const items = rows.slice(0, size);
      const last = rows.length > size ? items.at(-1) : undefined;
      const nextPageToken = last === undefined ? "" : tokens.encode(scope, { value: columnOf(last, order), id: last.id });
      return { items: items.map(read), nextPageToken };
    },
  };
}

export function compiledFilter(filter: string, fields: Fields): Condition | undefined {
  const parsed = parseFilter(filter);
  return parsed && compileFilter(parsed, fields);
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
