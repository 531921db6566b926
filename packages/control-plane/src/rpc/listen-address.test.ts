import { describe, expect, it } from "vitest";
import { formatListenAddress, parseListenAddress } from "./listen-address.ts";

describe("addresses to listen on", () => {
  it.each([
    ["127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"],
    ["[::1]:0", "::1", 0, "[::1]:0"],
    ["localhost:65535", "localhost", 65535, "localhost:65535"],
    [":80", "::", 80, "[::]:80"],
  ])("%s", (text, host, port, formatted) => {
    expect(parseListenAddress(text)).toEqual({ host, port });
    expect(formatListenAddress({ host, port })).toBe(formatted);
  });

  it.each(["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:8080", "[127.0.0.1]:1", "[::1]", "http://a:1", "a b:1", "a:-1", "a:1x"])("%j is refused", (text) => {
    expect(() => parseListenAddress(text, "ZFSILO_LISTEN")).toThrow("ZFSILO_LISTEN");
  });
});
