import { createLogger, LogOutput } from "@zfsilo/lib";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane } from "../../src/control-plane.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";
import { hosts } from "./running-service.ts";

it("a log that cannot be written fails no start, no call and no process", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "zfsilo-log-"));
  const fd = openSync("/dev/full", "w");
  const logOutput = new LogOutput(fd);
  const text = JSON.stringify({ hosts, reconcile: { intervalSeconds: 0 } });
  const config = parseConfig({ ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: "127.0.0.1:0" }, { name: "test.json", text });
  const plane = await startControlPlane({ config, log: createLogger("trace", logOutput), logOutput, secretKey: undefined, sshAgentSocket: undefined });
  try {
    const url = `http://${formatListenAddress(plane.address)}`;
    const token = (await readFile(plane.adminTokenFile, "utf8")).trim();
    const post = async (method: string, body: string, authorization: string): Promise<number> => {
      const answer = await fetch(`${url}/zfsilo.v1.${method}`, { method: "POST", body, headers: { "content-type": "application/json", authorization } });
      await answer.arrayBuffer();
      return answer.status;
    };
    const volume = { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, filesystem: { type: "ext4" } };
    expect(await post("VolumeService/CreateVolume", JSON.stringify({ volumeId: "a", volume }), `Bearer ${token}`)).toBe(200);
    expect(await post("VolumeService/GetVolume", JSON.stringify({ name: "volumes/a" }), `Bearer ${token}`)).toBe(200);
    expect(await post("VolumeService/GetVolume", "{", `Bearer ${token}`)).toBe(400);
    expect(await post("VolumeService/GetVolume", "{", "")).toBe(401);
    expect(logOutput).toMatchObject({ problem: "ENOSPC" });
    expect(logOutput.linesLost).toBeGreaterThan(3);
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.text()).toMatch(/^ok\n(?:.*\n)*log: cannot be written \(ENOSPC\), \d+ lines lost\n/);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^zfsilo_log_lines_lost_total [1-9]/m);
  } finally {
    await plane.stop();
    closeSync(fd);
    await rm(dataDir, { recursive: true });
  }
});
