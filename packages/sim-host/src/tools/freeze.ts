import { findFreeze, freezeOfUnit } from "../files/freeze.ts";
import { mountAt, mountOf } from "../files/mounts.ts";
import { Vfs } from "../files/vfs.ts";
import { UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import { done, failed, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";

/** fsfreeze(8) of util-linux 2.38, and the one use of systemd-run(1) that is known: a service that freezes, sleeps and thaws. */

export const fsfreeze: Program = (machine, args) => {
  const options = parseOptions("fsfreeze", args, { flags: ["--freeze", "-f", "--unfreeze", "-u"] });
  const [path, ...more] = options.rest;
  if (path === undefined || more.length > 0) throw new UnmodelledError(`fsfreeze ${args.join(" ")}`);
  const content = contentAt(machine, path);
  if (options.flags.has("--freeze") || options.flags.has("-f")) {
    freeze(machine, path, content, {});
    return done();
  }
  if (findFreeze(machine, content) === undefined) throw new ToolFailure(1, `fsfreeze: ${path}: unfreeze failed: Invalid argument`);
  machine.model.freezes.delete(machine.at(content));
  return done();
};

function freeze(machine: Machine, path: string, content: string, by: { readonly unit?: string; readonly until?: number }): void {
  if (findFreeze(machine, content) !== undefined) {
    throw new ToolFailure(1, `fsfreeze: ${path}: freeze failed: Device or resource busy`);
  }
  machine.model.freezes.put(machine.at(content), by);
}

/** fsfreeze takes any directory, and acts on the filesystem it lies in. */
function contentAt(machine: Machine, path: string): string {
  const vfs = new Vfs(machine);
  if (vfs.kind(path) === undefined) throw new ToolFailure(1, `fsfreeze: cannot open ${path}: No such file or directory`);
  const { content, at } = mountOf(machine, vfs.resolve(path));
  if (content === undefined || at === "/") throw new UnmodelledError(`fsfreeze of what ${path} lies in`);
  return content;
}

export const systemdRun: Program = (machine, args) => {
  const options = parseOptions("systemd-run", args, { flags: ["--collect"], values: ["--unit", "--property"] });
  const unit = lastValue(options, "--unit");
  const properties = new Map((options.values.get("--property") ?? []).map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]));
  const place = properties.get("AssertPathIsMountPoint");
  const [program, seconds, ...more] = options.rest;
  const expected = ["Type", "AssertPathIsMountPoint", "TimeoutStartSec", "TimeoutStopSec", "ExecStartPre", "ExecStopPost"];
  const known =
    unit !== undefined &&
    place !== undefined &&
    [...properties.keys()].every((name) => expected.includes(name)) &&
    properties.get("Type") === "exec" &&
    properties.get("ExecStartPre") === `fsfreeze --freeze ${place}` &&
    properties.get("ExecStopPost") === `-fsfreeze --unfreeze ${place}` &&
    program === "sleep" &&
    /^\d+$/.test(seconds ?? "") &&
    more.length === 0;
  if (!known) throw new UnmodelledError(`systemd-run ${args.join(" ")}`);
  if (freezeOfUnit(machine, unit) !== undefined) {
    return failed(1, `Failed to start transient service unit: Unit ${unit}.service was already loaded or has a fragment file.`);
  }
  const problem = `Job for ${unit}.service failed because the control process exited with error code.\nSee "systemctl status ${unit}.service" and "journalctl -xeu ${unit}.service" for details.`;
  if (mountAt(machine, place) === undefined) return failed(1, `Assertion failed on job for ${unit}.service.`);
  const content = contentAt(machine, place);
  if (findFreeze(machine, content) !== undefined) {
    // Its start failed, so its end has thawed what somebody else had frozen.
    machine.model.freezes.delete(machine.at(content));
    return failed(1, problem);
  }
  freeze(machine, place, content, { unit, until: machine.now() + Number(seconds) * 1000 });
  return done("", `Running as unit: ${unit}.service\n`);
};

export const systemctl: Program = (machine, args) => {
  const [verb, name, ...more] = parseOptions("systemctl", args, {}).rest;
  if (verb !== "stop" || name === undefined || more.length > 0) throw new UnmodelledError(`systemctl ${args.join(" ")}`);
  const content = freezeOfUnit(machine, name.replace(/\.service$/, ""));
  // A service that has ended is collected.
  if (content === undefined) return failed(5, `Failed to stop ${name}: Unit ${name} not loaded.`);
  machine.model.freezes.delete(machine.at(content));
  return done();
};
