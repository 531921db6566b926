import { rm } from "node:fs/promises";
import net from "node:net";
import { mkdtemp } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { HealthServer } from "./health-server.ts";

let directory: string;
let health: HealthServer;
let url: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-health-"));
  health = new HealthServer(join(directory, "csi.sock"));
  url = `http://127.0.0.1:${await health.start("127.0.0.1:0")}/healthz`;
});

afterEach(async () => {
  await health.stop();
  await rm(directory, { recursive: true });
});

it("is well while the driver's socket is answered", async () => {
  const driver = net.createServer((connection) => connection.destroy()).listen(join(directory, "csi.sock"));
  await once(driver, "listening");
  expect((await fetch(url)).status).toBe(200);
  driver.close();
  await once(driver, "close");
  expect((await fetch(url)).status).toBe(500);
});

it("answers nothing else", async () => {
  expect((await fetch(`${url}/more`)).status).toBe(404);
  expect((await fetch(url, { method: "POST" })).status).toBe(404);
});

it("says which address is taken", async () => {
  const port = new URL(url).port;
  await expect(new HealthServer("/none").start(`127.0.0.1:${port}`)).rejects.toThrow(`listen on 127.0.0.1:${port}`);
});
