import { KernelError, UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { DatasetDoc } from "../model.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { effective, getDataset, getSnapshot, keyIsLoaded, snapshotKey } from "./datasets.ts";
import { isUserProperty, ruleOf } from "./properties.ts";
import { parseSettings } from "./settings.ts";
import { shortSize, thickReservation } from "./size.ts";
import { adjustSpace, usage } from "./space.ts";

export const zfsSet: Program = (machine, args) => {
  const { rest } = parseOptions("zfs set", args, {});
  const words = rest.filter((word) => word.includes("="));
  const names = rest.filter((word) => !word.includes("="));
  const [name] = names;
  if (words.length === 0 || name === undefined) throw new ToolFailure(2, "missing property=value or dataset");
  if (names.length > 1) throw new UnmodelledError("zfs set on several datasets at once");
  const subject = `cannot set property for '${name}'`;
  if (name.includes("@")) return setOnSnapshot(machine, name, words);
  const dataset = getDataset(machine, name);
  const settings = parseSettings(words, dataset.type, subject, false);
  if (settings["volsize"] !== undefined && !keyIsLoaded(machine, dataset.encryption)) throw new ToolFailure(1, `${subject}: permission denied`);
  if (settings["volsize"] !== undefined) checkVolumeSize(machine, name, settings["volsize"], subject);
  if (settings["quota"] !== undefined) checkQuota(machine, name, words, settings["quota"], subject);
  try {
    adjustSpace(machine.model, machine.at(name), (changed) => {
      applySettings(machine, name, changed, settings);
    });
  } catch (error) {
    if (error instanceof KernelError && error.errno === "ENOSPC") {
      throw new ToolFailure(1, `${subject}: size is greater than available space`);
    }
    throw error;
  }
  return done();
};

/** Growing a thick volume grows its reservation with it (zvol_set_volsize); a smaller size is taken without a word. */
function applySettings(machine: Machine, name: string, dataset: DatasetDoc, settings: Readonly<Record<string, string>>): void {
  const { volsize } = settings;
  const before = dataset.props["volsize"];
  if (volsize !== undefined && before !== undefined) {
    const blockSize = blockSizeOf(machine, name);
    const thick = thickReservation(BigInt(before), blockSize).toString();
    if (dataset.props["refreservation"] === thick && settings["refreservation"] === undefined) {
      dataset.props["refreservation"] = thickReservation(BigInt(volsize), blockSize).toString();
    }
  }
  Object.assign(dataset.props, settings);
  if (dataset.props["refreservation"] === "auto") {
    const size = BigInt(dataset.props["volsize"] ?? "0");
    dataset.props["refreservation"] = thickReservation(size, blockSizeOf(machine, name)).toString();
  }
}

function checkQuota(machine: Machine, name: string, words: readonly string[], quota: string, subject: string): void {
  if (words.includes("quota=0")) throw new ToolFailure(1, `${subject}: use 'none' to disable quota/refquota`);
  const dataset = getDataset(machine, name);
  if (BigInt(quota) === 0n || BigInt(quota) >= usage(dataset).total) return;
  throw new ToolFailure(1, `${subject}: size is less than current used or reserved space`);
}

function checkVolumeSize(machine: Machine, name: string, volsize: string, subject: string): void {
  const blockSize = blockSizeOf(machine, name);
  if (BigInt(volsize) === 0n) throw new ToolFailure(1, `${subject}: 'volsize' cannot be zero`);
  if (BigInt(volsize) % blockSize === 0n) return;
  const unit = shortSize(blockSize);
  throw new ToolFailure(1, `${subject}: 'volsize' must be a multiple of volume block size (${unit})`);
}

function blockSizeOf(machine: Machine, name: string): bigint {
  return BigInt(effective(machine, name, "volblocksize")?.value ?? "8192");
}

function setOnSnapshot(machine: Machine, name: string, words: readonly string[]): ReturnType<Program> {
  getSnapshot(machine, name);
  const snapshot = machine.model.snapshots.edit(snapshotKey(machine, name));
  for (const word of words) {
    const property = word.slice(0, word.indexOf("="));
    if (!isUserProperty(property)) {
      throw new ToolFailure(1, `cannot set property for '${name}': this property can not be modified for snapshots`);
    }
    if (snapshot !== undefined) snapshot.props[property] = word.slice(property.length + 1);
  }
  return done();
}

export const zfsInherit: Program = (machine, args) => {
  const [property, name, ...more] = parseOptions("zfs inherit", args, { flags: ["-S"] }).rest;
  if (property === undefined || name === undefined) throw new ToolFailure(2, "missing property or dataset argument");
  if (more.length > 0 || name.includes("@")) throw new UnmodelledError("zfs inherit on snapshots or several datasets");
  if (!isUserProperty(property)) {
    const rule = ruleOf(property);
    if (rule === undefined) throw new ToolFailure(2, `invalid property '${property}'`);
    if (rule.access !== "set") throw new ToolFailure(1, `'${property}' property cannot be inherited`);
    if (rule.inherits !== true) throw new ToolFailure(2, `'${property}' property cannot be inherited`);
  }
  getDataset(machine, name);
  const dataset = machine.model.datasets.edit(machine.at(name));
  if (dataset !== undefined) {
    dataset.props = Object.fromEntries(Object.entries(dataset.props).filter(([key]) => key !== property));
  }
  return done();
};
