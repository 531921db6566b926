import { KernelError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { DatasetDoc } from "../model.ts";
import { done, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";
import { addDataset, findDataset, parentOf } from "./datasets.ts";
import { newEncryption } from "./keys.ts";
import { nameProblem } from "./name.ts";
import { parseSettings } from "./settings.ts";
import { parseSize, thickReservation } from "./size.ts";
import { emptySpace } from "./space.ts";

/** What an empty dataset of each type takes (ZFS 2.1 on 512-byte sectors). */
const emptyBytes = { filesystem: 24_576n, volume: 12_288n } as const;
const defaultBlockSize = 8192n;

export const zfsCreate: Program = (machine, args, stdin) => {
  const options = parseOptions("zfs create", args, { flags: ["-s", "-p"], values: ["-V", "-b", "-o"] });
  const [name, ...more] = options.rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing or too many filesystem arguments");
  const size = lastValue(options, "-V");
  const kind = size === undefined ? "filesystem" : "volume";
  const blockSize = lastValue(options, "-b");
  const words = [...(options.values.get("-o") ?? []), ...(blockSize === undefined ? [] : [`volblocksize=${blockSize}`])];

  const subject = `cannot create '${name}'`;
  const problem = nameProblem(name);
  if (problem !== undefined) throw new ToolFailure(1, `${subject}: ${problem}`);
  if (findDataset(machine, name) !== undefined) {
    // With -p an existing dataset is no error, whatever its type or size.
    if (options.flags.has("-p")) return done();
    throw new ToolFailure(1, `${subject}: dataset already exists`);
  }
  checkParent(machine, name, subject, options.flags.has("-p"));
  const props = parseSettings(words, kind, subject, true);
  if (size !== undefined) setVolumeSize(props, size, options.flags.has("-s"), subject);
  const encryption = newEncryption(machine, props, stdin, subject);
  try {
    addDataset(machine, name, { ...newDataset(machine, kind, props), ...(encryption !== undefined && { encryption }) });
  } catch (error) {
    if (error instanceof KernelError && error.errno === "ENOSPC") throw new ToolFailure(1, `${subject}: out of space`);
    throw error;
  }
  return done();
};

function checkParent(machine: Machine, name: string, subject: string, makeParents: boolean): void {
  const pool = name.split("/", 1)[0] ?? name;
  if (findDataset(machine, pool) === undefined) throw new ToolFailure(1, `cannot open '${pool}': no such pool`);
  const parent = parentOf(name);
  if (parent === undefined) throw new ToolFailure(1, `${subject}: missing dataset name`);
  const found = findDataset(machine, parent);
  if (found?.type === "volume") throw new ToolFailure(1, `${subject}: parent is not a filesystem`);
  if (found !== undefined) return;
  if (!makeParents) throw new ToolFailure(1, `${subject}: parent does not exist`);
  checkParent(machine, parent, subject, true);
  addDataset(machine, parent, newDataset(machine, "filesystem", {}));
}

function setVolumeSize(props: Record<string, string>, text: string, sparse: boolean, subject: string): void {
  const asked = parseSize(text);
  if (asked === undefined) throw new ToolFailure(1, `bad volume size '${text}': invalid numeric value`);
  if (asked === 0n) throw new ToolFailure(1, `${subject}: volume size cannot be zero`);
  const blockSize = BigInt(props["volblocksize"] ?? defaultBlockSize);
  // zfs create rounds up without a word; zfs set does not.
  const size = ((asked + blockSize - 1n) / blockSize) * blockSize;
  props["volsize"] = size.toString();
  if (props["refreservation"] === "auto") props["refreservation"] = thickReservation(size, blockSize).toString();
  if (!sparse) props["refreservation"] ??= thickReservation(size, blockSize).toString();
}

/** A dataset with nothing in it; addDataset gives it a place in the pool. */
export function newDataset(machine: Machine, type: DatasetDoc["type"], props: Record<string, string>): DatasetDoc {
  return {
    type,
    props,
    guid: machine.newGuid(),
    createTxg: machine.model.next("txg"),
    created: machine.seconds(),
    space: emptySpace(emptyBytes[type]),
  };
}
