import { contentOf, copyContent } from "../content.ts";
import { KernelError, UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { SnapshotDoc } from "../model.ts";
import { done, failed, parseOptions, ToolFailure } from "../program.ts";
import type { Consumer } from "../byte-programs.ts";
import { newDataset } from "./create.ts";
import { addDataset, effective, findDataset, parentOf, snapshotKey } from "./datasets.ts";
import { nameProblem } from "./name.ts";
import { parseSettings } from "./settings.ts";

const headBytes = 312;
const endRecord = 5;

/**
 * `zfs receive` of a stream of everything into a dataset that is not there yet. What arrives is the snapshot that the stream's
 * first record names: the simulated stream does not carry files.
 */
export const zfsReceive: Consumer = (machine, args, input) => {
  const options = parseOptions("zfs receive", args, { flags: ["-u"], values: ["-o"] });
  const [name, ...more] = options.rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing snapshot argument");
  const stream = Buffer.concat([...input]);
  if (stream.length === 0) return failed(1, "cannot receive: failed to read from stream");
  const problem = nameProblem(name);
  if (problem !== undefined) throw new ToolFailure(1, `cannot receive: ${problem}`);
  const subject = "cannot receive new filesystem stream";
  if (findDataset(machine, name) !== undefined) {
    throw new ToolFailure(1, `${subject}: destination '${name}' exists\nmust specify -F to overwrite it`);
  }
  const parent = parentOf(name);
  if (parent === undefined || findDataset(machine, parent)?.type !== "filesystem") {
    throw new ToolFailure(1, `cannot open '${parent ?? name}': dataset does not exist\n${subject}: unable to restore to destination`);
  }
  const { tag, source, snapshot } = sourceOf(machine, stream);
  const settings = parseSettings(options.values.get("-o") ?? [], "volume", subject, false);
  const end = stream.length >= 2 * headBytes ? stream.readUInt32LE(stream.length - headBytes) : undefined;
  if (end !== endRecord) throw new ToolFailure(1, `${subject}: incomplete stream`);
  receive(machine, name, tag, source, snapshot, settings, subject);
  return done();
};

function sourceOf(machine: Machine, stream: Buffer): { tag: string; source: string; snapshot: SnapshotDoc } {
  if (stream.length < headBytes || stream.readBigUInt64LE(8) !== 0x2_f5ba_cbacn) {
    throw new ToolFailure(1, "cannot receive: invalid stream (bad magic number)");
  }
  if (stream.readBigUInt64LE(48) !== 0n) throw new UnmodelledError("zfs receive of an incremental stream");
  const text = stream.toString("utf8", 56, headBytes);
  const from = text.slice(0, text.indexOf("\0"));
  const [source = "", tag = ""] = from.split("@");
  const snapshot = machine.model.snapshots.get(snapshotKey(machine, from));
  if (snapshot?.guid !== stream.readBigUInt64LE(40).toString()) throw new UnmodelledError(`zfs receive of ${from}, which is not on this machine`);
  return { tag, source, snapshot };
}

function receive(
  machine: Machine,
  name: string,
  tag: string,
  source: string,
  snapshot: SnapshotDoc,
  settings: Readonly<Record<string, string>>,
  subject: string,
): void {
  const { model } = machine;
  if (settings["refreservation"] === "auto") throw new UnmodelledError("zfs receive -o refreservation=auto");
  const block = effective(machine, source, "volblocksize")?.value;
  const made = newDataset(machine, "volume", {
    ...(snapshot.volsize === undefined ? {} : { volsize: snapshot.volsize }),
    ...(block === undefined ? {} : { volblocksize: block }),
    ...settings,
  });
  // It shares nothing with its source, but all with the snapshot that comes with it.
  made.space = { ...made.space, referenced: snapshot.referenced, unique: "0" };
  try {
    addDataset(machine, name, made);
  } catch (error) {
    if (error instanceof KernelError && error.errno === "ENOSPC") throw new ToolFailure(1, `${subject}: out of space`);
    throw error;
  }
  if (snapshot.content === undefined || made.content === undefined) return;
  const { fs, generation } = contentOf(model, snapshot.content);
  const owned = { owner: machine.at(name), base: 0, ...(fs === undefined ? {} : { fs }) };
  copyContent(model, snapshot.content, made.content, { ...owned, generation: generation + 1 });
  const kept = `c${model.next("content")}`;
  copyContent(model, snapshot.content, kept, { ...owned, generation });
  const { volsize, created, guid, referenced } = snapshot;
  model.snapshots.put(snapshotKey(machine, `${name}@${tag}`), {
    props: {},
    guid,
    createTxg: model.next("txg"),
    created,
    referenced,
    content: kept,
    holds: {},
    ...(volsize === undefined ? {} : { volsize }),
  });
}
