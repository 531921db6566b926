import type { FileOperation } from "@zfsilo/command";
import { StorageError } from "@zfsilo/lib";

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** `8:16` of the filesystem, which for a bind of a device node is that of devtmpfs. */
  readonly majorMinor: string;
  /** What part of the filesystem is mounted: `/`, a directory for a bind mount, `/sda` for a bound device node. */
  readonly root: string;
  readonly target: string;
  /** Per mount: `rw`, `ro`, `noatime`, … */
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Per filesystem. */
  readonly superOptions: readonly string[];
}

/** A node with many pods has thousands of mounts at about 200 bytes each. */
const maxBytes = 16 << 20;

export const mountinfoRead: FileOperation = { op: "read", path: "/proc/self/mountinfo", maxBytes };

/** In mount order: where two lie on one target, the later one is what shows. */
export function parseMountinfo(text: string): Mount[] {
  if (Buffer.byteLength(text) >= maxBytes) throw new StorageError("internal", "read /proc/self/mountinfo: it is too long");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

/** `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` */
function parseLine(line: string): Mount {
  const fields = line.split(" ");
  // Zero or more optional fields stand before the hyphen.
  const hyphen = fields.indexOf("-", 6);
  const [id, parentId, majorMinor, root, target, options] = fields;
  const [type, source, superOptions] = hyphen === -1 ? [] : fields.slice(hyphen + 1);
  if (
    id === undefined ||
    parentId === undefined ||
    majorMinor === undefined ||
    root === undefined ||
    target === undefined ||
    options === undefined ||
    type === undefined ||
    source === undefined
  ) {
    throw new StorageError("internal", `read /proc/self/mountinfo: unreadable line ${JSON.stringify(line.slice(0, 200))}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    majorMinor,
    root: unescapeOctal(root),
    target: unescapeOctal(target),
    options: options.split(","),
    type,
    source: unescapeOctal(source),
    superOptions: superOptions?.split(",") ?? [],
  };
}

/** The kernel writes space, tab, newline and backslash as `\040`, `\011`, `\012`, `\134` (fs/proc_namespace.c). */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** All mounts on exactly this path, lowest first. */
export function mountsAt(mounts: readonly Mount[], target: string): Mount[] {
  return mounts.filter((mount) => mount.target === target);
}

/** The mount a path lies in: the one on its longest prefix, the topmost where several are stacked. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of mounts) {
    const contains = mount.target === "/" || path === mount.target || path.startsWith(`${mount.target}/`);
    if (contains && (found === undefined || mount.target.length >= found.target.length)) found = mount;
  }
  return found;
}

/** The mounts that show a device: its filesystem anywhere, or its node bound somewhere. */
export function mountsOfDevice(mounts: readonly Mount[], device: { name: string; majorMinor: string }): Mount[] {
  return mounts.filter(
    (mount) =>
      mount.majorMinor === device.majorMinor || (mount.type === "devtmpfs" && mount.root === `/${device.name}`),
  );
}
