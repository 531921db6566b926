import { describe, expect, it } from "vitest";
import { formatPortal, parseIqn, parsePortal, readPortal } from "./names.ts";

describe("parseIqn", () => {
  it.each([
    "iqn.2026-01.io.zfsilo:0123456789abcdef",
    "iqn.1993-08.org.debian:01:fcc9228c36cc",
    "iqn.2026-01.io.zfsilo",
    "eui.02004567a425678d",
    "naa.6001405abcdef0123456789abcdef012",
    `iqn.2026-01.io.zfsilo:${"x".repeat(201)}`,
  ])("takes %s", (name) => {
    expect(parseIqn(name)).toBe(name);
  });

  it.each([
    "",
    "-iqn.2026-01.io.zfsilo:x",
    "iqn.2026-13.io.zfsilo:x",
    "iqn.26-01.io.zfsilo:x",
    "iqn.2026-01.io.zfsilo:X",
    "iqn.2026-01.io.zfsilo:a_b",
    "iqn.2026-01.io.zfsilo:a/../b",
    "iqn.2026-01.io.zfsilo:a b",
    "iqn.2026-01.io.zfsilo:a\n",
    "iqn.2026-01.io.zfsilo:*",
    "iqn.2026-01.io.zfsilo:",
    `iqn.2026-01.io.zfsilo:${"x".repeat(202)}`,
  ])("refuses %j", (name) => {
    expect(() => parseIqn(name, "host.iqn")).toThrow(/^host\.iqn: /);
  });
});

describe("portals", () => {
  it.each([
    [{ address: "10.9.0.2", port: 3260 }, "10.9.0.2:3260"],
    [{ address: "FD00:0:0::1", port: 860 }, "[fd00::1]:860"],
    [{ address: "0.0.0.0", port: 65535 }, "0.0.0.0:65535"],
  ])("writes %j as %s and reads it back", (portal, text) => {
    const parsed = parsePortal(portal);
    expect(formatPortal(parsed)).toBe(text);
    expect(readPortal(text)).toEqual(parsed);
  });

  it.each([
    [{ address: "give.example.com", port: 3260 }, "p.address"],
    [{ address: "10.9.0.256", port: 3260 }, "p.address"],
    [{ address: "010.9.0.2", port: 3260 }, "p.address"],
    [{ address: "fe80::1%eth0", port: 3260 }, "p.address"],
    [{ address: "[fd00::1]", port: 3260 }, "p.address"],
    [{ address: "10.9.0.2", port: 0 }, "p.port"],
    [{ address: "10.9.0.2", port: 65536 }, "p.port"],
    [{ address: "10.9.0.2", port: 1.5 }, "p.port"],
  ])("refuses %j by its field", (portal, field) => {
    expect(() => parsePortal(portal, "p")).toThrow(expect.objectContaining({ details: { field } }));
  });

  it.each(["10.9.0.2", "fd00::1:3260", "[10.9.0.2]x:1", "host:3260", ""])("does not read %j", (text) => {
    expect(readPortal(text)).toBeUndefined();
  });
});
