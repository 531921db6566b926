import { describe, expect, it } from "vitest";
import { ancestorsAndSelf, assertUnderRoots, parseHostPath } from "./host-path.ts";

describe("parseHostPath", () => {
  it.each(["/", "/mnt", "/var/lib/kubelet/pods/x/volumes/kubernetes.io~csi/pvc-1/mount", "/mnt/odd dir", "/mnt/ü", "/a/..b"])(
    "takes %s",
    (path) => {
      expect(parseHostPath(path)).toBe(path);
    },
  );

  it.each(["", "mnt", "./mnt", "/mnt/", "//mnt", "/mnt//a", "/mnt/../etc", "/mnt/.", "/..", "/mnt/a\nb", "/mnt/\u0000", `/${"x".repeat(256)}`, `/${"x/".repeat(2100)}x`])(
    "refuses %j",
    (path) => {
      expect(() => parseHostPath(path, "target_path")).toThrow(/^target_path: /);
    },
  );

  it("walks down", () => {
    expect(ancestorsAndSelf("/a/b/c")).toEqual(["/a", "/a/b", "/a/b/c"]);
  });
});

describe("assertUnderRoots", () => {
  const roots = [parseHostPath("/mnt"), parseHostPath("/srv/zfsilo")];

  it.each(["/mnt/a", "/srv/zfsilo/a/b"])("allows %s", (path) => {
    expect(() => {
      assertUnderRoots(parseHostPath(path), roots);
    }).not.toThrow();
  });

  it.each(["/mnt", "/mntx/a", "/srv", "/srv/zfsilo2/a", "/etc/passwd", "/"])("refuses %s", (path) => {
    expect(() => {
      assertUnderRoots(parseHostPath(path), roots, "staging_path");
    }).toThrow(expect.objectContaining({ details: { field: "staging_path" } }));
  });
});
