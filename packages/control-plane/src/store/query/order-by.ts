import { invalidField } from "@zfsilo/lib";

export interface Order {
  /** As the caller names it. */
  readonly field: string;
  readonly column: string;
  readonly descending: boolean;
}

/** Field name to column. Each column has an index, or an order would cost a scan of the table. */
export type Orders = Readonly<Record<string, string>>;

/** `name`, `name asc` or `name desc`. */
export function parseOrderBy(text: string, orders: Orders, fallback: string): Order {
  const [field, direction, ...rest] = (text.trim() === "" ? fallback : text.trim()).split(/\s+/);
  const column = field !== undefined && Object.hasOwn(orders, field) ? orders[field] : undefined;
  const known = direction === undefined || direction === "asc" || direction === "desc";
  if (field === undefined || column === undefined || !known || rest.length > 0) {
    throw invalidField("order_by", `is one of ${Object.keys(orders).join(", ")}, optionally followed by " desc"`);
  }
  return { field, column, descending: direction === "desc" };
}
