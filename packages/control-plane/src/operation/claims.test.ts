import { expect, it } from "vitest";
import { Claims, newClaim } from "./claims.ts";

const on = (...alone: string[]) => ({ alone, shared: [] });
const sharing = (alone: string, ...shared: string[]) => ({ alone: [alone], shared });

it("keeps others off every subject of a claim until it is released", () => {
  const claims = new Claims();
  const first = newClaim("first");
  claims.take(first, on("snapshots/a", "volumes/a"));
  expect(claims.inTheWay(on("volumes/a"))).toBe(first);
  expect(claims.inTheWay(sharing("volumes/b", "snapshots/a"))).toBe(first);
  expect(claims.inTheWay(on("volumes/b"))).toBeUndefined();
  claims.release(first, on("snapshots/a", "volumes/a"));
  expect(claims.inTheWay(on("volumes/a", "snapshots/a"))).toBeUndefined();
});

it("lets many share what none of them holds, and nobody hold it meanwhile", () => {
  const claims = new Claims();
  const one = newClaim("one");
  const two = newClaim("two");
  claims.take(one, sharing("volumes/1", "snapshots/golden"));
  expect(claims.inTheWay(sharing("volumes/2", "snapshots/golden"))).toBeUndefined();
  claims.take(two, sharing("volumes/2", "snapshots/golden"));
  claims.release(one, sharing("volumes/1", "snapshots/golden"));
  expect(claims.inTheWay(on("snapshots/golden"))).toBe(two);
  claims.release(two, sharing("volumes/2", "snapshots/golden"));
  expect(claims.inTheWay(on("snapshots/golden"))).toBeUndefined();
});

it("is not released by anybody but its holder", () => {
  const claims = new Claims();
  const holder = newClaim("holder");
  claims.take(holder, on("volumes/a"));
  claims.release(newClaim("another"), on("volumes/a"));
  expect(claims.inTheWay(on("volumes/a"))).toBe(holder);
  expect([...claims.all()]).toEqual([holder]);
});
