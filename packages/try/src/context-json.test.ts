import fc from "fast-check";
import { expect, it } from "vitest";
import { parseContext, stringifyContext } from "./context-json.ts";

it("keeps sizes above 2^53 exact, nested or not", () => {
  const context = { capacityBytes: 2n ** 63n - 1n, steps: [{ size: 9_007_199_254_740_993n }], name: "v" };
  expect(parseContext(stringifyContext(context))).toEqual(context);
});

it("gives back any JSON value, also strings that look like its own mark", () => {
  const text = fc.oneof(fc.string(), fc.string().map((rest) => `$${rest}`), fc.constant("$bigint:12"));
  fc.assert(
    fc.property(fc.array(fc.oneof(text, fc.jsonValue(), fc.bigInt())), (values) => {
      // A trip through JSON first: it has no -0, and its parser treats "__proto__" specially.
      const normal = values.map((value) => (typeof value === "bigint" ? value : (JSON.parse(JSON.stringify(value)) as unknown)));
      expect(parseContext(stringifyContext({ normal }))).toEqual({ normal });
    }),
  );
});
