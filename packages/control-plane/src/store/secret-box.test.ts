import { describe, expect, it } from "vitest";
import { SecretBox } from "./secret-box.ts";

const box = new SecretBox(Buffer.alloc(32, 7));

describe("sealed secrets", () => {
  it("open for their owner alone", () => {
    const sealed = box.seal("päss", "vol_a/hst_b");
    expect(box.open(sealed, "vol_a/hst_b")).toBe("päss");
    expect(() => box.open(sealed, "vol_a/hst_c")).toThrow("open the sealed secrets of vol_a/hst_c");
    expect(() => new SecretBox(Buffer.alloc(32, 8)).open(sealed, "vol_a/hst_b")).toThrow();
  });

  it("never look the same twice", () => {
    expect(box.seal("x", "o")).not.toBe(box.seal("x", "o"));
  });

  it("are refused when a bit differs, or of another version, or cut", () => {
    const sealed = Buffer.from(box.seal("secret", "o"), "base64");
    for (let index = 0; index < sealed.length; index += 1) {
      const changed = Buffer.from(sealed);
      changed[index]! ^= 1;
      expect(() => box.open(changed.toString("base64"), "o")).toThrow();
    }
    expect(() => box.open(sealed.subarray(0, 20).toString("base64"), "o")).toThrow();
    expect(() => box.open("", "o")).toThrow();
  });
});
