const bigintMark = "$bigint:";

/**
 * Contexts are JSON with one addition: a bigint is written as the string "$bigint:123", so that sizes stay exact. A string
 * that begins with "$" gets a second one, so that no input can pass for a bigint.
 */
export function stringifyContext(context: object): string {
  return JSON.stringify(context, (_key, value: unknown) => {
    if (typeof value === "bigint") return `${bigintMark}${value}`;
    return typeof value === "string" && value.startsWith("$") ? `$${value}` : value;
  });
}

export function parseContext(text: string): object {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith("$")) return value;
    return value.startsWith(bigintMark) ? BigInt(value.slice(bigintMark.length)) : value.slice(1);
  }) as object;
}
