import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { Freezer } from "./freezer.ts";
import { parseHostPath } from "./host-path.ts";

const path = parseHostPath("/mnt/vol");
const unit = "zfsilo-freeze-9bbffa0eba37045f";
const root = "1 0 254:0 / / rw - ext4 /dev/vda rw\n";
const mounted = `${root}100 1 8:0 / /mnt/vol rw - ext4 /dev/sda rw\n`;

const start: ScriptedRun = {
  argv:
    `systemd-run --collect --unit=${unit} --property=Type=exec --property=AssertPathIsMountPoint=/mnt/vol --property=TimeoutStartSec=5 ` +
    "--property=TimeoutStopSec=5 --property=ExecStartPre=fsfreeze --freeze /mnt/vol --property=ExecStopPost=-fsfreeze --unfreeze /mnt/vol sleep 5",
};
const thaw: ScriptedRun = { argv: "fsfreeze --unfreeze /mnt/vol" };
const notFrozen: ScriptedRun = { ...thaw, exitCode: 1, stderr: "fsfreeze: /mnt/vol: unfreeze failed: Invalid argument\n" };
const stop: ScriptedRun = { argv: `systemctl stop ${unit}.service` };
const gone: ScriptedRun = { ...stop, exitCode: 5, stderr: `Failed to stop ${unit}.service: Unit ${unit}.service not loaded.\n` };

async function against<T>(runs: readonly ScriptedRun[], work: (freezer: Freezer) => Promise<T>, mountinfo = mounted): Promise<T> {
  const executor = new ScriptedExecutor({ runs, nodes: { "/proc/self/mountinfo": mountinfo } });
  try {
    return await work(new Freezer(executor));
  } finally {
    expect(executor.leftOver).toBe(0);
  }
}

describe("freeze", () => {
  const freeze = (freezer: Freezer) => freezer.freeze(path, { limitSeconds: 5 }, o);

  it("leaves the freeze and its end to one service", async () => {
    await against([start], freeze);
  });

  it("begins anew when one of ours is still in force", async () => {
    const there = { ...start, exitCode: 1, stderr: `Failed to start transient service unit: Unit ${unit}.service was already loaded or has a fragment file.\n` };
    await against([there, thaw, stop, start], freeze);
  });

  it.each([
    [`Job for ${unit}.service failed because the control process exited with error code.\nSee "systemctl status"`, "precondition"],
    ["System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus: Host is down", "precondition"],
    ["something new", "internal"],
  ])("says why it cannot: %s", async (stderr, reason) => {
    await expect(against([{ ...start, exitCode: 1, stderr }], freeze)).rejects.toMatchObject({ reason });
  });

  it("asks nothing of the host when nothing is mounted there, or the path would be read as more than a path", async () => {
    await expect(against([], freeze, root)).rejects.toMatchObject({ reason: "precondition" });
    const odd = parseHostPath("/mnt/a $HOME");
    const there = `${root}100 1 8:0 / /mnt/a\\040$HOME rw - ext4 /dev/sda rw\n`;
    await expect(against([], (freezer) => freezer.freeze(odd, { limitSeconds: 5 }, o), there)).rejects.toMatchObject({ reason: "invalid_argument" });
  });

  it.each([0, -1, 61, 1.5, Number.NaN])("refuses a limit of %d seconds", async (limitSeconds) => {
    await expect(against([], (freezer) => freezer.freeze(path, { limitSeconds }, o))).rejects.toMatchObject({ reason: "invalid_argument" });
  });
});

describe("thaw", () => {
  it("tells whether it was frozen until then, and ends the service", async () => {
    expect(await against([thaw, stop], (freezer) => freezer.thaw(path, o))).toBe(true);
    expect(await against([notFrozen, gone], (freezer) => freezer.thaw(path, o))).toBe(false);
  });

  it("does not take another failure for thawed", async () => {
    const denied = { ...thaw, exitCode: 1, stderr: "fsfreeze: /mnt/vol: unfreeze failed: Operation not permitted\n" };
    await expect(against([denied], (freezer) => freezer.thaw(path, o))).rejects.toMatchObject({ reason: "internal" });
  });

  it("leaves what lies around alone when nothing is mounted there any more", async () => {
    expect(await against([gone], (freezer) => freezer.thaw(path, o), root)).toBe(false);
  });
});
