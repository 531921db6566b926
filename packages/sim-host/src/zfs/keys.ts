import { createHash } from "node:crypto";
import { errnoText, KernelError, UnmodelledError } from "../failure.ts";
import { Vfs } from "../files/vfs.ts";
import type { Machine } from "../machine.ts";
import type { DatasetDoc } from "../model.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { addZvolDevice, descendants, getDataset, keyIsLoaded, rootNameOf } from "./datasets.ts";

/** What only an encryption root has; a clone shows none of it but the format (seen on 2.1.11). */
const keyBytes = 32;

/** Takes the words that make a new dataset an encryption root, and loads its key. */
export function newEncryption(machine: Machine, props: Record<string, string>, stdin: string, subject: string): DatasetDoc["encryption"] {
  const { encryption: asked = "off", keyformat, keylocation = "prompt" } = props;
  delete props["encryption"];
  delete props["keyformat"];
  delete props["keylocation"];
  if (asked === "off") return undefined;
  if (keyformat !== "raw" && keyformat !== "hex") throw new UnmodelledError(`keyformat ${keyformat ?? "none"}`);
  const root = { format: keyformat, location: keylocation };
  const check = keyCheck(readKey(machine, root, stdin, (why) => new ToolFailure(1, `${subject}: ${why}`)));
  const id = machine.newGuid();
  setLoaded(machine, id, true);
  return { algorithm: asked === "on" ? "aes-256-gcm" : asked, keyId: id, check, ...root };
}

type Refuse = (why: string) => ToolFailure;

function readKey(machine: Machine, { format, location }: { readonly format: string; readonly location: string }, stdin: string, refuse: Refuse): Buffer {
  const expected = format === "hex" ? keyBytes * 2 : keyBytes;
  const unit = format === "hex" ? "Hex" : "Raw";
  const text = location === "prompt" ? (format === "hex" ? stdin.replace(/\n$/, "") : stdin) : fileText(machine, location, refuse);
  if (text === "") throw refuse("encryption failure");
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length < expected) throw refuse(`${unit} key too short (expected ${expected}).`);
  if (bytes.length > expected) throw refuse(`${unit} key too long (expected ${expected}).`);
  if (format === "raw") return bytes;
  if (!/^[0-9a-fA-F]*$/.test(text)) throw refuse("Invalid hex character detected.");
  return Buffer.from(text, "hex");
}

function fileText(machine: Machine, location: string, refuse: Refuse): string {
  if (!location.startsWith("file:///")) throw new UnmodelledError(`keylocation ${location}`);
  const path = location.slice("file://".length);
  try {
    return new Vfs(machine).perform({ op: "read", path }).text ?? "";
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw refuse(error.errno === "EISDIR" ? "encryption failure" : `Failed to open key material file: ${errnoText(error.errno)}`);
  }
}

function keyCheck(key: Buffer): string {
  return createHash("sha256").update(key).digest("hex");
}

function setLoaded(machine: Machine, keyId: string, loaded: boolean): void {
  const kernel = machine.editKernel();
  kernel.keys = [...(kernel.keys ?? []).filter((id) => id !== keyId), ...(loaded ? [keyId] : [])];
}

/** The dataset that a key command names, once it is known to be an encryption root. */
function encryptionRoot(machine: Machine, name: string, verb: "load" | "unload"): NonNullable<DatasetDoc["encryption"]> {
  const dataset = getDataset(machine, name);
  const prefix = `Key ${verb} error:`;
  if (dataset.encryption === undefined) throw new ToolFailure(255, `${prefix} '${name}' is not encrypted.`);
  const root = rootNameOf(machine, name);
  if (root === name) return dataset.encryption;
  throw new ToolFailure(255, `${prefix} Keys must be ${verb}ed for encryption root of '${name}' (${root}).`);
}

export const zfsLoadKey: Program = (machine, args, stdin) => {
  const { rest, flags } = parseOptions("zfs load-key", args, { flags: ["-n"] });
  const [name, ...more] = rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing or too many dataset arguments");
  const encryption = encryptionRoot(machine, name, "load");
  const refuse = (why: string): ToolFailure => new ToolFailure(255, `Key load error: ${why}`);
  if (keyIsLoaded(machine, encryption) && !flags.has("-n")) throw refuse(`Key already loaded for '${name}'.`);
  const key = readKey(machine, encryption, stdin, refuse);
  if (keyCheck(key) !== encryption.check) throw refuse(`Incorrect key provided for '${name}'.`);
  if (flags.has("-n")) return done("1 / 1 key(s) successfully verified\n");
  setLoaded(machine, encryption.keyId, true);
  for (const [dataset, doc] of sharing(machine, name, encryption.keyId)) {
    if (doc.type !== "volume" || doc.device !== undefined) continue;
    const edited = machine.model.datasets.edit(machine.at(dataset));
    if (edited === undefined) continue;
    edited.device = addZvolDevice(machine, dataset);
    edited.link = "present";
  }
  return done();
};

export const zfsUnloadKey: Program = (machine, args) => {
  const [name, ...more] = parseOptions("zfs unload-key", args, {}).rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing or too many dataset arguments");
  const encryption = encryptionRoot(machine, name, "unload");
  const refuse = (why: string): ToolFailure => new ToolFailure(255, `Key unload error: ${why}`);
  if (!keyIsLoaded(machine, encryption)) throw refuse(`Key already unloaded for '${name}'.`);
  const all = [...sharing(machine, name, encryption.keyId)];
  const { devices, datasets } = machine.model;
  if (all.some(([, { device }]) => device !== undefined && (devices.get(machine.at(device))?.holders.length ?? 0) > 0)) throw refuse(`'${name}' is busy.`);
  setLoaded(machine, encryption.keyId, false);
  for (const [dataset, { device }] of all) {
    if (device !== undefined) devices.delete(machine.at(device));
    const edited = datasets.edit(machine.at(dataset));
    delete edited?.device;
    delete edited?.link;
  }
  return done();
};

/** Every dataset of the pool with that key. */
function* sharing(machine: Machine, name: string, keyId: string): Generator<readonly [name: string, doc: DatasetDoc]> {
  for (const dataset of descendants(machine, name.split("/", 1)[0] ?? name)) {
    const doc = getDataset(machine, dataset);
    if (doc.encryption?.keyId === keyId) yield [dataset, doc];
  }
}
