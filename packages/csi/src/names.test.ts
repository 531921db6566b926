import { expect, it } from "vitest";
import { checkId, checkName, idForName, idOf, isId } from "./names.ts";

it("makes one id of a name, whatever is in it", () => {
  const names = ["pvc-1", "PVC-1", "a b/c", "ü".repeat(64), "x".repeat(128), "../../etc"];
  const ids = names.map(idForName);
  expect(new Set(ids).size).toBe(names.length);
  for (const id of ids) expect(isId(id)).toBe(true);
  expect(idForName("pvc-1")).toBe(ids[0]);
});

it.each([
  ["", "is required"],
  ["x".repeat(129), "longer than 128 bytes"],
  ["ü".repeat(65), "longer than 128 bytes"],
  ["a\nb", "control character"],
])("refuses the name %j", (name, why) => {
  expect(() => checkName(name)).toThrow(why);
});

it("finds nothing under what can be no id", () => {
  expect(() => checkId("No Such", "volume_id")).toThrow(expect.objectContaining({ reason: "not_found" }));
  expect(() => checkId("", "volume_id")).toThrow(expect.objectContaining({ reason: "invalid_argument" }));
});

it("reads the id of a resource name", () => {
  expect(idOf("volumes/csi-1")).toBe("csi-1");
  expect(idOf("")).toBe("");
});
