import type { Zvol } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import type { PoolView } from "./observation.ts";
import { shortPools } from "./pool-short.ts";

const GiB = 1n << 30n;
const zvol = (size: bigint, written: bigint, available: bigint, reserved = 0n): Zvol =>
  ({ sizeBytes: size * GiB, referencedBytes: written * GiB, availableBytes: available * GiB, refreservationBytes: reserved * GiB }) as unknown as Zvol;
const short = (view: PoolView | readonly Zvol[]): string[] =>
  shortPools({
    pools: new Map([["tank", Array.isArray(view) ? new Map(view.map((one: Zvol, index) => [`tank/${index}`, one])) : (view as PoolView)]]),
    poolBytes: new Map([["tank", 100n * GiB]]),
  });

describe("a pool", () => {
  it("runs short when little is left and more was promised", () => {
    expect(short([zvol(50n, 45n, 9n), zvol(50n, 44n, 9n)])).toEqual(["tank has 9 GiB left, and its sparse volumes may still write 11 GiB"]);
    expect(short([zvol(50n, 50n, 0n), zvol(50n, 49n, 0n)])).toHaveLength(1);
  });

  it.each<[string, PoolView | readonly Zvol[]]>([
    ["with a tenth left", [zvol(500n, 45n, 10n)]],
    ["whose promises can be kept", [zvol(50n, 45n, 9n)]],
    ["whose volumes all have their space reserved", [zvol(50n, 0n, 55n, 51n), zvol(49n, 0n, 54n, 50n)]],
    ["without volumes", []],
    ["that is not imported", "not_imported"],
    ["that is suspended", "suspended"],
  ])("%s does not", (_what, view) => {
    expect(short(view)).toEqual([]);
  });
});
