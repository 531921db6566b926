import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  instancesDirectory,
  isAlive,
  listInstances,
  parseInstance,
  readInstance,
  removeInstance,
  sweepAbandoned,
  writeInstance,
  type InstanceState,
} from "./instance.ts";
import { processId, thisProcess } from "./process-id.ts";

const state: InstanceState = {
  owner: null,
  plan: { acceleration: "tcg", cpus: 1, kernel: "/k", initrd: "/i" },
  privateKeyPath: "/key",
  machines: { give: { process: null, sshPort: 9000 }, take: { process: { pid: 7, startTicks: 8 }, sshPort: 9100 } },
};

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "zfsilo-instances-"));
  vi.stubEnv("XDG_CACHE_HOME", cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

describe("state files", () => {
  it("come back as written", async () => {
    await writeInstance("dev", state);
    expect(await readInstance("dev")).toEqual(state);
    expect(await listInstances()).toEqual(["dev"]);
  });

  it("are absent for a pair that never ran", async () => {
    expect(await readInstance("dev")).toBeUndefined();
    expect(await listInstances()).toEqual([]);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "7"],
    ["no machines", JSON.stringify({ ...state, machines: undefined })],
    ["a machine short", JSON.stringify({ ...state, machines: { give: state.machines.give } })],
    ["no plan", JSON.stringify({ ...state, plan: undefined })],
    ["an acceleration of old", JSON.stringify({ ...state, plan: { ...state.plan, acceleration: "hax" } })],
    ["a pid without start time", JSON.stringify({ ...state, owner: { pid: 3 } })],
  ])("with %s are not believed", (_what, text) => {
    expect(parseInstance(text)).toBeUndefined();
  });

  it.each(["", "../dev", "a/b", "-x", "Dev", "x".repeat(40)])("refuse the name %j", async (name) => {
    await expect(readInstance(name)).rejects.toMatchObject({ reason: "invalid_argument" });
  });
});

describe("processes", () => {
  it("are not taken for machines because they have the pid of one", async () => {
    // This very test: alive, with the right start time, and no QEMU.
    const me = await thisProcess();
    const stranger = { ...state, machines: { ...state.machines, give: { process: me, sshPort: 9000 } } };
    await writeInstance("dev", stranger);
    expect(await isAlive("dev", stranger)).toEqual({ give: false, take: false });
    await removeInstance("dev");
    expect(await processId(me.pid)).toEqual(me);
    expect(await readdir(instancesDirectory())).toEqual([]);
  });
});

describe("sweepAbandoned", () => {
  it("removes only pairs whose owner has ended", async () => {
    const me = await thisProcess();
    await writeInstance("background", state);
    await writeInstance("mine", { ...state, owner: me });
    await writeInstance("left", { ...state, owner: { ...me, startTicks: me.startTicks + 1 } });
    const lines: string[] = [];
    await sweepAbandoned((line) => lines.push(line));
    expect(await listInstances()).toEqual(["background", "mine"]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("left");
  });
});
