import { inspect } from "node:util";
import { expect, it } from "vitest";
import { createLogger } from "./log.ts";
import { Secret } from "./secret.ts";

const secret = new Secret("hunter2hunter2");

it.each([
  ["a template", `secret: ${String(secret)}`],
  ["JSON", JSON.stringify({ secret })],
  ["the inspector", inspect({ deep: { secret } })],
  ["an error message", new Error(String(secret)).message],
])("is not printed by %s", (_how, text) => {
  expect(text).toContain("[secret]");
  expect(text).not.toContain("hunter2");
});

it("is given out only when asked by name", () => {
  expect(secret.reveal()).toBe("hunter2hunter2");
  expect(secret.equals(new Secret("hunter2hunter2"))).toBe(true);
});

it("is not logged, nor is a plain string under a telling key", () => {
  const lines: string[] = [];
  const log = createLogger("info", { write: (line) => void lines.push(line) });
  log.info({ chap: secret, request: { password: "hunter2hunter2", token: "hunter2hunter2" } }, "connect");
  expect(lines.join()).not.toContain("hunter2");
});
