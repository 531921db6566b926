import { createHash } from "node:crypto";
import { contentOf } from "../content.ts";
import { findDevice, openDevice, readDevice, writeDevice, type OpenDevice } from "../device.ts";
import { errnoText, KernelError, UnmodelledError } from "../failure.ts";
import { Vfs } from "../files/vfs.ts";
import type { Machine } from "../machine.ts";
import { done, failed, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";
import { deviceName } from "./mount.ts";

/** Tools that read devices and files: blkid, cmp, sha256sum, cat. And dd, which writes. */

/** blkid -p reads at most this much; a device that cannot give it is "nothing found", exit 2. */
const probeBytes = 64 * 1024;

export const blkid: Program = (machine, args) => {
  const options = parseOptions("blkid", args, { flags: ["-p"], values: ["-o"] });
  const [path, ...more] = options.rest;
  if (!options.flags.has("-p") || lastValue(options, "-o") !== "export" || path === undefined || more.length > 0) {
    throw new UnmodelledError(`blkid ${args.join(" ")}`);
  }
  const found = probe(machine, path);
  if (found === undefined) return failed(2, "");
  return done(`DEVNAME=${path}\n${found.map((line) => `${line}\n`).join("")}`);
};

function probe(machine: Machine, path: string): readonly string[] | undefined {
  const name = deviceName(machine, new Vfs(machine), path);
  if (name === undefined) return undefined;
  try {
    const device = openDevice(machine, name);
    const start = readDevice(device, probeBytes);
    const fs = device.content === undefined ? undefined : contentOf(machine.model, device.content).fs;
    if (fs !== undefined) {
      const label = fs.label === "" ? [] : [`LABEL=${fs.label}`];
      const version = fs.type === "ext4" ? ["VERSION=1.0"] : [];
      return [...label, `UUID=${fs.uuid}`, ...version, `BLOCK_SIZE=${fs.type === "xfs" ? 512 : fs.blockSize}`, `TYPE=${fs.type}`, "USAGE=filesystem"];
    }
    // A boot sector's mark makes it a partition table.
    return start.length >= 512 && start.readUInt16LE(510) === 0xaa55 ? ["PTTYPE=dos"] : undefined;
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

/** `cmp -n BYTES DEVICE /dev/zero` alone: is the beginning of a device empty? */
export const cmp: Program = (machine, args) => {
  const options = parseOptions("cmp", args, { flags: ["-s"], values: ["-n"] });
  const [path, other] = options.rest;
  const limit = Number(lastValue(options, "-n"));
  if (path === undefined || other !== "/dev/zero" || !Number.isSafeInteger(limit)) {
    throw new UnmodelledError(`cmp ${args.join(" ")}`);
  }
  const vfs = new Vfs(machine);
  if (vfs.kind(path) === undefined) return failed(2, `cmp: ${path}: No such file or directory`);
  const data = attempt(() => readStart(machine, vfs, path, limit), (errno) => failedRead("cmp", 2, path, errno));
  // A comparison of memory, and not byte by byte in JavaScript: a MiB takes 0.1 ms and not 10.
  if (!data.equals(Buffer.alloc(data.length))) {
    const at = data.findIndex((byte) => byte !== 0);
    const line = data.subarray(0, at).filter((byte) => byte === 0x0a).length + 1;
    return { exitCode: 1, stdout: `${path} ${other} differ: char ${at + 1}, line ${line}\n`, stderr: "" };
  }
  if (data.length < limit) return failed(1, `cmp: EOF on ${path} after byte ${data.length}, in line 1`);
  return done();
};

/** `dd if=/dev/zero of=DEVICE bs=BYTES count=1 conv=nocreat,fsync` alone: makes the beginning of a device empty. */
export const dd: Program = (machine, args) => {
  const given = new Map(args.map((arg) => [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)]));
  const path = given.get("of");
  const length = Number(given.get("bs"));
  const isModelled = given.get("if") === "/dev/zero" && given.get("count") === "1" && given.get("conv") === "nocreat,fsync";
  if (path === undefined || !isModelled || !Number.isSafeInteger(length)) throw new UnmodelledError(`dd ${args.join(" ")}`);
  const device = openFor(machine, path, (errno) => new ToolFailure(1, `dd: failed to open '${path}': ${errnoText(errno)}`));
  attempt(() => { writeDevice(device, Buffer.alloc(length)); }, (errno) => new ToolFailure(1, `dd: error writing '${path}': ${errnoText(errno)}`));
  return done("", `1+0 records in\n1+0 records out\n${length} bytes copied\n`);
};

function readStart(machine: Machine, vfs: Vfs, path: string, limit: number): Buffer {
  const name = deviceName(machine, vfs, path);
  if (name !== undefined) return readDevice(openDevice(machine, name), limit);
  return Buffer.from(vfs.read(path, limit), "utf8").subarray(0, limit);
}

/** Larger devices are not hashed: nothing asks for it, and it would take seconds. */
const mostHashed = 256n * 1024n * 1024n;

export const sha256sum: Program = (machine, args) => {
  const { rest } = parseOptions("sha256sum", args, { flags: ["-b"] });
  const vfs = new Vfs(machine);
  const lines = rest.map((path) => {
    const data = attempt(() => wholeFile(machine, vfs, path), (errno) => failedRead("sha256sum", 1, path, errno));
    return `${createHash("sha256").update(data).digest("hex")}  ${path}\n`;
  });
  return done(lines.join(""));
};

function wholeFile(machine: Machine, vfs: Vfs, path: string): Buffer {
  const name = deviceName(machine, vfs, path);
  if (name === undefined) return Buffer.from(vfs.read(path, Number.MAX_SAFE_INTEGER), "utf8");
  const device = openDevice(machine, name);
  if (device.size > mostHashed) throw new UnmodelledError(`sha256sum of a device of ${device.size} bytes`);
  return readDevice(device, Number(device.size));
}

export const cat: Program = (machine, args) => {
  const { rest } = parseOptions("cat", args, {});
  const vfs = new Vfs(machine);
  const texts = rest.map((path) => attempt(() => vfs.read(path), (errno) => failedRead("cat", 1, path, errno)));
  return done(texts.join(""));
};

function attempt<T>(look: () => T, fail: (errno: string) => ToolFailure): T {
  try {
    return look();
  } catch (error) {
    throw error instanceof KernelError ? fail(error.errno) : error;
  }
}

function failedRead(tool: string, exitCode: number, path: string, errno: string): ToolFailure {
  return new ToolFailure(exitCode, `${tool}: ${path}: ${errnoText(errno)}`);
}

/** The device a filesystem tool was given, open; `fail` says what the tool does when there is none or it gives errors. */
export function openFor(machine: Machine, path: string, fail: (errno: string) => ToolFailure): OpenDevice {
  const name = deviceName(machine, new Vfs(machine), path);
  if (name === undefined) throw fail("ENOENT");
  return attempt(() => {
    const device = openDevice(machine, name);
    if (device.content === undefined) throw new KernelError("EIO", name);
    return device;
  }, fail);
}

export function isHeldBy(machine: Machine, device: OpenDevice, holder: string): boolean {
  return findDevice(machine, device.name)?.holders.includes(holder) === true;
}
