import { findDevice } from "../device.ts";
import { UnmodelledError } from "../failure.ts";
import { done, failed, parseOptions, type Program } from "../program.ts";

/** Small tools of the system itself: udevadm, modprobe, date, sync, perl. */

/** Every link that is merely late is there once udev has settled; a lost one stays lost. */
const settle: Program = (machine, args) => {
  parseOptions("udevadm settle", args, { values: ["--timeout", "-t"] });
  const { model } = machine;
  const visit = (key: string): void => {
    for (const name of model.datasets.children(key)) {
      const link = model.datasets.get(`${key}/${name}`)?.link;
      if (typeof link === "object") makeLink(`${key}/${name}`);
      visit(`${key}/${name}`);
    }
  };
  const makeLink = (key: string): void => {
    const dataset = model.datasets.edit(key);
    if (dataset !== undefined) dataset.link = "present";
  };
  // Nothing is ever late on a machine that was not told to be.
  if (machine.facts.udev.missesBeforeLink > 0) visit(machine.name);
  return done();
};

const trigger: Program = (machine, args) => {
  const options = parseOptions("udevadm trigger", args, { values: ["--action", "-c", "--name-match", "--subsystem-match"], flags: ["--settle"] });
  if (options.values.has("--name-match") || options.values.has("--subsystem-match") || options.rest.length === 0) {
    throw new UnmodelledError(`udevadm trigger ${args.join(" ")}`);
  }
  for (const path of options.rest) {
    const device = findDevice(machine, path.replace(/^\/dev\//, "").replace(/^\/sys\/(class\/)?block\//, ""));
    if (device === undefined) return failed(1, `Failed to open the device '${path}': No such device`);
    const dataset = device.kind === "zvol" ? machine.model.datasets.edit(machine.at(device.dataset)) : undefined;
    if (dataset !== undefined) dataset.link = "present";
  }
  return done();
};

export const udevadm: Program = (machine, [subcommand = "", ...args], stdin) => {
  if (subcommand === "settle") return settle(machine, args, stdin);
  if (subcommand === "trigger") return trigger(machine, args, stdin);
  throw new UnmodelledError(`udevadm ${subcommand}`);
};

/** Modules a Debian 12 storage host has, with what they pull in. */
const modules: Readonly<Record<string, readonly string[]>> = {
  target_core_mod: [],
  target_core_iblock: ["target_core_mod"],
  iscsi_target_mod: ["target_core_mod"],
  iscsi_tcp: ["scsi_transport_iscsi", "libiscsi"],
  zfs: [],
  xfs: [],
  ext4: [],
  configfs: [],
};

export const modprobe: Program = (machine, args) => {
  const [name, ...parameters] = parseOptions("modprobe", args, { flags: ["-q"] }).rest;
  // A second name would be taken as a parameter of the first, and not be loaded.
  if (name === undefined || parameters.length > 0) throw new UnmodelledError(`modprobe ${args.join(" ")}`);
  const needed = Object.hasOwn(modules, name) ? modules[name] : undefined;
  if (needed === undefined) {
    return failed(1, `modprobe: FATAL: Module ${name} not found in directory /lib/modules/6.1.0-37-amd64`);
  }
  machine.loadModules(...needed, name);
  return done();
};

export const date: Program = (machine, args) => {
  const [format, ...more] = parseOptions("date", args, { flags: ["-u"] }).rest;
  if (more.length > 0 || (format !== "+%s.%N" && format !== "+%s")) throw new UnmodelledError(`date ${args.join(" ")}`);
  const now = machine.now();
  const nanoseconds = String(Math.floor((now % 1000) * 1e6)).padStart(9, "0");
  return done(format === "+%s" ? `${machine.seconds()}\n` : `${machine.seconds()}.${nanoseconds}\n`);
};

export const sync: Program = (_machine, args) => {
  parseOptions("sync", args, { flags: ["-f", "-d"] });
  return done();
};

export const perl: Program = (_machine, args) => {
  const options = parseOptions("perl", args, { flags: ["-v"] });
  if (!options.flags.has("-v") || options.rest.length > 0) throw new UnmodelledError(`perl ${args.join(" ")}`);
  return done("\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64-linux-gnu-thread-multi\n");
};
