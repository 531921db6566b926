import { createLogger } from "@zfsilo/lib";
import { once } from "node:events";
import net from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { endWith } from "./http-types.ts";
import { RpcServer } from "./server.ts";

const server = (): RpcServer =>
  new RpcServer({
    log: createLogger("silent"),
    handler: () => (_request, response) => {
      response.statusCode = 204;
      endWith(response, "");
    },
    silenceTimeoutMs: 100,
  });

let running: RpcServer;
let port: number;
beforeEach(async () => {
  running = server();
  ({ port } = await running.start({ host: "127.0.0.1", port: 0 }));
});
afterEach(() => running.stop(100));

describe("the server", () => {
  it("says so when the address is taken, and how to mend it", async () => {
    await expect(server().start({ host: "127.0.0.1", port })).rejects.toMatchObject({
      reason: "unavailable",
      message: `listen on 127.0.0.1:${port}`,
      hint: expect.stringContaining("ZFSILO_LISTEN") as string,
    });
  });

  it("listens on IPv6", async () => {
    const other = server();
    const { host, port: chosen } = await other.start({ host: "::1", port: 0 });
    expect(host).toBe("::1");
    expect((await fetch(`http://[::1]:${chosen}/`)).status).toBe(204);
    await other.stop(100);
  });

  it.each([
    ["nothing", ""],
    ["less than tells the protocol", "PR"],
    ["the HTTP/2 preface and no settings", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ])("ends a connection that says %s", async (_what, bytes) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    if (bytes !== "") socket.write(bytes);
    const began = performance.now();
    await once(socket, "close");
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  it("answers many calls on one connection after the first bytes were looked at", async () => {
    const socket = net.connect(port, "127.0.0.1");
    socket.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
    let answers = "";
    for await (const chunk of socket) {
      answers += String(chunk);
      if (answers.split("204 No Content").length > 40) break;
    }
    expect(answers.split("204 No Content")).toHaveLength(41);
  });
});
