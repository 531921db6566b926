import { expect, it } from "vitest";
import { limitFrom } from "./connection-limit.ts";

it.each([
  ["256", 144],
  ["1024", 720],
  ["65", 16],
  ["1048576", 4_096],
  ["unlimited", 4_096],
])("open files %s allow %i connections", (soft, limit) => {
  expect(limitFrom(`Limit Soft Hard Units\nMax open files            ${soft}                 524288               files\n`)).toBe(limit);
});
