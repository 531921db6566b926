import { describe, expect, it } from "vitest";
import { unusableAddress } from "./portal-address.ts";

describe("unusableAddress", () => {
  it.each(["10.9.0.2", "192.0.2.1", "169.254.1.1", "fd00::1", "2001:db8::1"])("has nothing against %s", (address) => {
    expect(unusableAddress(address, false)).toBeUndefined();
  });

  it.each([
    ["0.0.0.0", /every address/],
    ["::", /every address/],
    ["224.0.0.1", /multicast/],
    ["ff02::1", /multicast/],
    ["255.255.255.255", /broadcast/],
    ["fe80::1", /link-local/],
    ["::ffff:a09:2", /written as IPv6/],
  ])("refuses %s", (address, why) => {
    expect(unusableAddress(address, true)).toMatch(why);
  });

  it.each(["127.0.0.1", "127.8.9.10", "::1"])("takes %s only where initiators may run on the same machine", (address) => {
    expect(unusableAddress(address, true)).toBeUndefined();
    expect(unusableAddress(address, false)).toMatch(/loopback/);
  });
});
