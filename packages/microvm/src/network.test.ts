import { createServer } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { freePort, freePorts } from "./network.ts";

describe("freePort", () => {
  it("gives the wished port when it is free", async () => {
    const port = await freePort();
    expect(await freePort(port)).toBe(port);
  });

  it("gives another when somebody listens there", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const taken = address !== null && typeof address === "object" ? address.port : 0;
    expect(await freePort(taken)).not.toBe(taken);
    server.close();
    await once(server, "close");
  });
});

describe("freePorts", () => {
  it("never gives one port twice", async () => {
    const port = await freePort();
    const ports = await freePorts([port, port, undefined, undefined]);
    expect(new Set(ports).size).toBe(4);
  });
});
