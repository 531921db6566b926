/** Contexts are JSON with one addition: a bigint is written as {"$bigint": "123"}, so that sizes stay exact. */
export function stringifyContext(context: object): string {
  return JSON.stringify(context, (_key, value: unknown) =>
    typeof value === "bigint" ? { $bigint: value.toString() } : value,
  );
}

export function parseContext(text: string): object {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value === "object" && value !== null && "$bigint" in value) return BigInt(String(value.$bigint));
    return value;
  }) as object;
}
