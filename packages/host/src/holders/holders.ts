import type { CallOptions, Executor, FileOperation, FileResult } from "@zfsilo/command";
import { StorageError } from "@zfsilo/lib";
import { posix } from "node:path";
import { filesOf, namedFiles, textOf, type Files } from "../file-results.ts";
import { targetRoot } from "../lio/paths.ts";
import { mountinfoRead, mountsOfDevice, parseMountinfo } from "../mount/mountinfo.ts";
import { describeStacked, type Holder } from "./stacked.ts";

/** Who keeps a device busy, to explain a failure. What cannot be read is left out. */
export async function findHolders(executor: Executor, device: string, o: CallOptions, exceptBackstore?: string): Promise<readonly Holder[]> {
  try {
    return await readHolders(executor, device, o, exceptBackstore);
  } catch (error) {
    o.signal.throwIfAborted();
    if (error instanceof StorageError) return [];
    throw error;
  }
}

/**
 * Who keeps a device busy, as far as files of the host tell: what is stacked on it, mounts, swap, backstores of the target. A program
 * that has it open is not found; reading every process's descriptors would cost more than the answer is worth.
 */
export async function readHolders(executor: Executor, device: string, o: CallOptions, exceptBackstore?: string): Promise<readonly Holder[]> {
  const [link] = await executor.files([{ op: "readlink", path: device, tolerate: ["EINVAL", "ENOENT", "ENOTDIR"] }], o);
  const name = posix.basename(link?.text ?? device);
  const files = await namedFiles(executor, reads(name), o);
  const stacked = describeStacked(
    both(files.stacked, files.stackedOnPartitions),
    both(files.dmNames, files.dmNamesOnPartitions),
    both(files.dmUuids, files.dmUuidsOnPartitions),
  );
  const numbers = [{ name, majorMinor: textOf(files.number)?.trim() ?? "" }, ...partitionsOf(name, filesOf(files.partitions))];
  const mounts = numbers.flatMap((part) => mountsOfDevice(parseMountinfo(textOf(files.mounts) ?? ""), part));
  const swaps = (textOf(files.swaps) ?? "").split("\n").flatMap((line) => numbers.find((part) => line.startsWith(`/dev/${part.name} `)) ?? []);
  return [
    ...stacked,
    ...mounts.map(({ target }) => ({ what: `a mount at ${target}`, remedy: `Unmount it: \`umount ${target}\`.` })),
    ...swaps.map((part) => ({ what: `swap on ${part.name}`, remedy: `Take it out of use: \`swapoff /dev/${part.name}\`.` })),
    ...backstoresOf([device, `/dev/${name}`], filesOf(files.backstores), exceptBackstore),
  ];
}

/** The failure with who holds the device, and with what to do; as it was when nobody is found. */
export function nameHolders(failure: StorageError, holders: readonly Holder[]): StorageError {
  const [first] = holders;
  if (first === undefined) return failure;
  const held = holders.map(({ what }) => what).join(", ");
  return new StorageError(failure.reason, `${failure.message}: held by ${held}`, {
    cause: failure.cause,
    details: { ...failure.details, holders: held },
    hint: first.remedy,
  });
}

type Stacked = "stacked" | "dmNames" | "dmUuids";
type Read = "number" | "partitions" | Stacked | `${Stacked}OnPartitions` | "mounts" | "swaps" | "backstores";

function reads(name: string): Readonly<Record<Read, FileOperation>> {
  const device = `/sys/class/block/${name}`;
  const glob = (path: string): FileOperation => ({ op: "read-glob", path });
  return {
    number: { op: "read", path: `${device}/dev`, tolerate: ["ENOENT"] },
    partitions: glob(`${device}/*/dev`),
    stacked: glob(`${device}/holders/*/dev`),
    stackedOnPartitions: glob(`${device}/*/holders/*/dev`),
    dmNames: glob(`${device}/holders/*/dm/name`),
    dmUuids: glob(`${device}/holders/*/dm/uuid`),
    dmNamesOnPartitions: glob(`${device}/*/holders/*/dm/name`),
    dmUuidsOnPartitions: glob(`${device}/*/holders/*/dm/uuid`),
    mounts: mountinfoRead,
    swaps: { op: "read", path: "/proc/swaps", tolerate: ["ENOENT"] },
    backstores: glob(`${targetRoot}/core/*/*/udev_path`),
  };
}

function both(a: FileResult, b: FileResult): Files {
  return [...filesOf(a), ...filesOf(b)];
}

/** /sys/class/block/zd0/zd0p1/dev */
function partitionsOf(name: string, files: Files): { name: string; majorMinor: string }[] {
  return files.flatMap(([path, number]) => {
    const part = posix.basename(posix.dirname(path));
    return part.startsWith(name) ? [{ name: part, majorMinor: number.trim() }] : [];
  });
}

function backstoresOf(paths: readonly string[], files: Files, except: string | undefined): Holder[] {
  return files
    .filter(([path, device]) => paths.includes(device.trim()) && posix.dirname(path) !== except)
    .map(([path]) => {
      const [hba = "", name = ""] = posix.dirname(path).split("/").slice(-2);
      const remedy = "Unpublish the volume whose it is; one that was made by hand goes with targetcli.";
      return { what: `the target's backstore ${hba}/${name}`, remedy };
    });
}
