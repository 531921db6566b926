import { open } from "node:fs/promises";
import { expect, it } from "vitest";
import { errnoName, errnoNumber, errnoOf } from "./errno.ts";

it.each([
  [2, "ENOENT"],
  [11, "EAGAIN"],
  [17, "EEXIST"],
  [39, "ENOTEMPTY"],
  [95, "ENOTSUP"],
  [512, "E512"],
])("names errno %i %s, and back", (number, name) => {
  expect(errnoName(number)).toBe(name);
  expect(errnoNumber(name)).toBe(number);
});

it("knows no number for a name that is none", () => {
  expect(errnoNumber("ENOSUCHTHING")).toBeUndefined();
  expect(errnoNumber("")).toBeUndefined();
});

it("takes the errno of Node's errors by number", async () => {
  const error: unknown = await open("/nonexistent/file").catch((thrown: unknown) => thrown);
  expect(errnoOf(error)).toBe("ENOENT");
  // What Node throws for a number that libuv has no name for.
  expect(errnoOf(Object.assign(new Error("Unknown system error -512"), { errno: -512, code: "Unknown system error -512" }))).toBe("E512");
  expect(errnoOf(new Error("plain"))).toBeUndefined();
});
