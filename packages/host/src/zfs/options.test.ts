import { describe, expect, it } from "vitest";
import { parseZfsOptions, requireMutableZfsOptions } from "./options.ts";

describe("parseZfsOptions", () => {
  it("takes what it knows", () => {
    const options = { compression: "zstd-3", volblocksize: "16384", sync: "always", dedup: "sha256,verify", copies: "2" };
    expect(parseZfsOptions(options)).toEqual(options);
  });

  it.each([
    [{ volmode: "none" }, 'zfs_options["volmode"]'],
    [{ "zfsilo:volume": "x" }, 'zfs_options["zfsilo:volume"]'],
    [{ volsize: "1" }, 'zfs_options["volsize"]'],
    [{ toString: "1" }, 'zfs_options["toString"]'],
    [{ compression: "zstd-20" }, 'zfs_options["compression"]'],
    [{ compression: "lz4\n" }, 'zfs_options["compression"]'],
    [{ compression: "" }, 'zfs_options["compression"]'],
    [{ "comp\u0000ression": "lz4" }, "zfs_options"],
    [{ volblocksize: "16K" }, 'zfs_options["volblocksize"]'],
    [{ volblocksize: "3000" }, 'zfs_options["volblocksize"]'],
    [{ copies: "4" }, 'zfs_options["copies"]'],
    [{ sync: "standard -o x=y" }, 'zfs_options["sync"]'],
  ])("refuses %j by its field", (options, field) => {
    expect(() => parseZfsOptions(options)).toThrow(
      expect.objectContaining({ reason: "invalid_argument", details: { field } }),
    );
  });

  it("tells what an existing volume cannot change", () => {
    expect(() => {
      requireMutableZfsOptions({ volblocksize: "8192" });
    }).toThrow("cannot be changed");
    expect(() => {
      requireMutableZfsOptions({ compression: "off" });
    }).not.toThrow();
  });
});
