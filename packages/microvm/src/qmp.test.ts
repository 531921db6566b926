import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { humanCommand, qmpCommand } from "./qmp.ts";

let directory: string;
let server: Server;
const asked: string[] = [];
const limit = (): AbortSignal => AbortSignal.timeout(10_000);

/** A monitor that speaks QMP's greeting and answers each command by `answer`; undefined leaves it without one. */
async function monitor(answer: (command: string, socket: Socket) => object | undefined): Promise<string> {
  server = createServer((socket) => {
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\n');
    createInterface({ input: socket }).on("line", (line) => {
      const command = (JSON.parse(line) as { execute: string }).execute;
      asked.push(command);
      const reply = command === "qmp_capabilities" ? { return: {} } : answer(command, socket);
      if (reply !== undefined) socket.write(`{"event": "RESUME"}\n${JSON.stringify(reply)}\n`);
    });
  });
  const path = join(directory, "qmp");
  server.listen(path);
  await once(server, "listening");
  return path;
}

beforeEach(async () => {
  asked.length = 0;
  directory = await mkdtemp(join(tmpdir(), "zfsilo-qmp-"));
});
afterEach(async () => {
  server.close();
  await once(server, "close");
  await rm(directory, { recursive: true });
});

describe("qmpCommand", () => {
  it("negotiates first, then asks, and passes events over", async () => {
    const path = await monitor(() => ({ return: { running: true } }));
    expect(await qmpCommand(path, "query-status", {}, limit())).toEqual({ running: true });
    expect(asked).toEqual(["qmp_capabilities", "query-status"]);
  });

  it("fails with what QEMU says", async () => {
    const path = await monitor(() => ({ error: { class: "DeviceNotFound", desc: "Device 'x' not found" } }));
    await expect(qmpCommand(path, "set_link", {}, limit())).rejects.toMatchObject({ reason: "internal" });
  });

  it("fails when QEMU goes away before it answers", async () => {
    const path = await monitor((_command, socket) => void socket.destroy());
    await expect(qmpCommand(path, "quit", {}, limit())).rejects.toMatchObject({ reason: "unavailable" });
  });

  it("stops waiting when told to", async () => {
    const path = await monitor(() => undefined);
    await expect(qmpCommand(path, "query-status", {}, AbortSignal.timeout(100))).rejects.toBeInstanceOf(Error);
  });
});

describe("humanCommand", () => {
  it("takes any text for a failure", async () => {
    const path = await monitor(() => ({ return: "Error: no snapshot\r\n" }));
    await expect(humanCommand(path, "loadvm ready", limit())).rejects.toMatchObject({ reason: "internal" });
  });

  it("takes silence for success", async () => {
    const path = await monitor(() => ({ return: "" }));
    await expect(humanCommand(path, "savevm ready", limit())).resolves.toBeUndefined();
  });
});
