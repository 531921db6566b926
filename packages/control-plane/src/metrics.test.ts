import { describe, expect, it } from "vitest";
import { Metrics } from "./metrics.ts";

const sources = {
  logLinesLost: () => 0,
  volumesByStatus: () => Promise.resolve({ mounted: 2 }),
  volumesByCondition: () => Promise.resolve({ ZVOL_MISSING: 1 }),
  hostsByCondition: () => Promise.resolve({}),
  openOperations: () => Promise.resolve({ stuck: 1 }),
  pools: () => Promise.resolve([{ host: "hst_give", pool: "tank", sizeBytes: 100n, freeBytes: 40n }]),
};

describe("metrics", () => {
  it("count what they are told", async () => {
    const metrics = new Metrics(sources);
    metrics.ended("zfsilo.v1.VolumeService/GetVolume", "ok", 0.001);
    metrics.hostCommand("zfs", "exit", 0.2);
    metrics.step("volume.create", "create zvol", "failed");
    metrics.step("volume.create", "record volume", "undone");
    const { text, contentType } = await metrics.collect();
    expect(contentType).toContain("text/plain");
    for (const line of [
      'zfsilo_rpc_duration_seconds_count{method="zfsilo.v1.VolumeService/GetVolume",code="ok"} 1',
      'zfsilo_host_command_duration_seconds_count{tool="zfs",outcome="exit"} 1',
      'zfsilo_workflow_step_total{kind="volume.create",step="create zvol",outcome="failed"} 1',
      'zfsilo_workflow_undo_total{kind="volume.create"} 1',
      'zfsilo_operations_open{state="stuck"} 1',
      'zfsilo_operations_open{state="running"} 0',
      'zfsilo_volumes{status="mounted"} 2',
      'zfsilo_volumes{status="initial"} 0',
      'zfsilo_pool_size_bytes{host="hst_give",pool="tank"} 100',
      'zfsilo_pool_free_bytes{host="hst_give",pool="tank"} 40',
      "process_cpu_seconds_total",
    ]) {
      expect(text).toContain(line);
    }
  });

  it("drop a pool that is gone, and tell the rest when one source fails", async () => {
    let pools: () => ReturnType<typeof sources.pools> = sources.pools;
    const metrics = new Metrics({ ...sources, pools: () => pools() });
    await metrics.collect();
    pools = () => Promise.reject(new Error("host is down"));
    const { text } = await metrics.collect();
    expect(text).not.toContain("hst_give");
    expect(text).toContain('zfsilo_volumes{status="mounted"} 2');
  });
});
