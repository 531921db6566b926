import { expect, it } from "vitest";
import { bashScript } from "./bash-script.ts";

it("writes what changes something, and leaves out what reads", () => {
  const script = bashScript([
    { op: "mkdir", path: "/t/hba", tolerate: ["EEXIST"] },
    { op: "mkdir", path: "/t/hba/it's" },
    { op: "write", path: "/t/control", content: "udev_path=/dev/zvol/x" },
    { op: "write", path: "/t/enable", content: "1", tolerate: ["EINVAL"] },
    { op: "symlink", path: "/t/lun", target: "/t/hba" },
    { op: "read", path: "/t/enable" },
    { op: "list", path: "/t" },
  ]);
  expect(script).toBe(
    [
      "set -e",
      "mkdir -p '/t/hba'",
      "mkdir '/t/hba/it'\\''s'",
      "printf %s 'udev_path=/dev/zvol/x' >'/t/control'",
      "printf %s '1' >'/t/enable' 2>/dev/null || :",
      "ln -s '/t/hba' '/t/lun'",
      "",
    ].join("\n"),
  );
});

it("refuses what an export never needs", () => {
  expect(() => bashScript([{ op: "rmdir", path: "/t" }])).toThrow("rmdir /t");
});
