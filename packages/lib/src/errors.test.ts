import { expect, it } from "vitest";
import { errorChain, invalidField, reasonOf, StorageError, wrapError } from "./errors.ts";

const root = new StorageError("no_space", "zfs create tank/v", {
  cause: new Error("out of space"),
  hint: "Free space.",
  details: { host: "hst_give" },
});

it("keeps reason, hint and details of the cause when it is wrapped, and adds what we were doing", () => {
  const wrapped = wrapError("create volume v", root, { volume: "v" });
  expect(wrapped).toMatchObject({ reason: "no_space", hint: "Free space.", details: { host: "hst_give", volume: "v" } });
  expect(wrapped.message).toBe("create volume v");
});

it("prints the whole chain, each message once", () => {
  expect(errorChain(wrapError("create volume v", root))).toBe("create volume v: zfs create tank/v: out of space");
});

it("survives a cause that points at itself", () => {
  const circular = new Error("round");
  circular.cause = circular;
  expect(errorChain(circular).length).toBeLessThan(200);
});

it("finds the reason below a plain error, and calls the unknown internal", () => {
  expect(reasonOf(new Error("outer", { cause: root }))).toBe("no_space");
  expect(reasonOf(new Error("plain"))).toBe("internal");
  expect(reasonOf("text")).toBe("internal");
});

it("names the field of bad input", () => {
  expect(invalidField("volume.pool", "is unknown")).toMatchObject({ reason: "invalid_argument", details: { field: "volume.pool" } });
});
