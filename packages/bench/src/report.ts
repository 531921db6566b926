import type { Findings, Measure, Ratio } from "./findings.ts";

export function toJson({ ratios, measures }: Findings): string {
  const exact = ratios.find(({ value }) => !Number.isFinite(value));
  if (exact !== undefined) throw new RangeError(`${exact.name} is ${exact.value}, which JSON cannot say`);
  return `${JSON.stringify({ ratios, measures }, null, 2)}\n`;
}

/** Markdown, so that it can be read in a terminal and kept in a document. */
export function toTables({ ratios, measures }: Findings): string {
  const parts = [
    table(["measure", "median", "90 %", "samples"], measures.map(measureRow)),
    table(["ratio", "value", "limit", ""], ratios.map(ratioRow)),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function measureRow({ name, median, p90, samples, unit }: Measure): string[] {
  return [name, `${short(median)} ${unit}`, `${short(p90)} ${unit}`, String(samples)];
}

function ratioRow({ name, value, limit, bound, unit, ok }: Ratio): string[] {
  const suffix = unit === "times" ? "" : ` ${unit}`;
  return [name, `${short(value)}${suffix}`, `${bound} ${String(limit)}${suffix}`, ok ? "ok" : "MISSED"];
}

/** Three digits that mean something. */
export function short(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

/** The first column is text, the others stand to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const widths = head.map((title, column) => Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? title).length)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (column === 0 ? (cells[column] ?? "").padEnd(width) : (cells[column] ?? "").padStart(width))).join(" | ")} |\n`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |\n`;
  return line(head) + rule + rows.map(line).join("");
}
