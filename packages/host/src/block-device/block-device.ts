import type { CallOptions, Executor } from "@zfsilo/command";
import { BugError, StorageError, waitFor, type Backoff, type Bytes } from "@zfsilo/lib";
import { posix } from "node:path";
import { filesOf, textOf } from "../file-results.ts";
import type { Iscsi, SessionKey } from "../iscsiadm/iscsi.ts";
import { sectors, type SessionDevice } from "../iscsiadm/sessions.ts";
import { poolOf, zvolPath, type DatasetName } from "../zfs/names.ts";

/** A device node in its own place, `/dev/sda` or `/dev/zd16`, never a link to it. */
export interface BlockDevice {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** `8:16`, as mountinfo shows it. */
  readonly majorMinor: string;
  /** As `blockdev --getro` tells it. */
  readonly readOnly: boolean;
}

export interface BlockDeviceOptions {
  /** How long udev may take for a zvol's link before it is nudged: never above 1.2 s when all is well (hosts.md). */
  readonly linkBackoff?: Backoff;
  /** How long after the nudge. */
  readonly nudgedLinkBackoff?: Backoff;
  readonly deviceBackoff?: Backoff;
}

const defaults = {
  linkBackoff: { firstMs: 20, maxMs: 250, limitMs: 3000 },
  nudgedLinkBackoff: { firstMs: 50, maxMs: 500, limitMs: 12_000 },
  deviceBackoff: { firstMs: 10, maxMs: 250, limitMs: 15_000 },
} satisfies Required<BlockDeviceOptions>;

/** Finds device nodes and waits for them, through sysfs and /dev. */
export class BlockDevices {
  readonly #executor: Executor;
  readonly #iscsi: Iscsi;
  readonly #waits: Required<BlockDeviceOptions>;

  constructor(executor: Executor, iscsi: Iscsi, options: BlockDeviceOptions = {}) {
    this.#executor = executor;
    this.#iscsi = iscsi;
    this.#waits = { ...defaults, ...options };
  }

  /**
   * Waits for the zvol's link and node, and returns the node. `zfs create` returns earlier, and when several run at once
   * udev loses links for good (hosts.md, ZFS): then the devices without link are announced again.
   */
  async awaitZvolDevice(dataset: DatasetName, o: CallOptions): Promise<BlockDevice> {
    const link = zvolPath(dataset);
    const look = async (): Promise<BlockDevice | undefined> => await this.#resolve(link, o);
    try {
      return await waitFor(link, look, o.signal, this.#waits.linkBackoff);
    } catch (error) {
      if (!(error instanceof StorageError) || error.reason !== "timeout") throw error;
    }
    await this.#announceUnlinkedZvols(dataset, o);
    try {
      return await waitFor(`${link} after udevadm trigger`, look, o.signal, this.#waits.nudgedLinkBackoff);
    } catch (error) {
      if (!(error instanceof StorageError) || error.reason !== "timeout") throw error;
      throw new StorageError("unavailable", `find the device of volume ${dataset} on ${this.#executor.host}`, {
        cause: error,
        hint: "udev made no link: see `journalctl -u systemd-udevd` and /dev/zd* on the host; volmode may be off.",
      });
    }
  }

  /**
   * Waits for the LUN of a session and returns it only if its serial is the volume's: a device by the right name may be
   * another disk.
   */
  async awaitIscsiDevice(session: SessionKey, serial: string, o: CallOptions): Promise<BlockDevice> {
    const doing = `find the device of ${session.target} on ${this.#executor.host}`;
    let device: BlockDevice;
    try {
      device = await waitFor(
        `a disk of ${session.target}`,
        async () => {
          const found = await this.#iscsi.findSession(session, o);
          const unit = found?.devices.find(({ lun }) => lun === 0);
          // Without a serial it is still being set up; which disk it is cannot be told yet.
          if (unit?.serial === undefined) return undefined;
          this.#requireSerial(doing, unit, serial);
          return await this.find(`/dev/${unit.name}`, o);
        },
        o.signal,
        this.#waits.deviceBackoff,
      );
    } catch (error) {
      if (!(error instanceof StorageError) || error.reason !== "timeout") throw error;
      throw new StorageError("unavailable", doing, {
        cause: error,
        hint: "There is no session, or the target shows it no LUN: publish the volume to this host again.",
      });
    }
    return device;
  }

  /** Undefined when the node or its entry in sysfs is not there. `path` must be the node itself. */
  async find(path: string, o: CallOptions): Promise<BlockDevice | undefined> {
    const name = nameOf(path);
    const [node, size, number, ro] = await this.#executor.files(
      [
        // EINVAL: it is there and no link, the answer we hope for.
        { op: "readlink", path, tolerate: ["EINVAL", "ENOENT", "ENOTDIR"] },
        { op: "read", path: `/sys/class/block/${name}/size`, tolerate: ["ENOENT"] },
        { op: "read", path: `/sys/class/block/${name}/dev`, tolerate: ["ENOENT"] },
        { op: "read", path: `/sys/class/block/${name}/ro`, tolerate: ["ENOENT"] },
      ],
      o,
    );
    const sizeText = textOf(size);
    const majorMinor = textOf(number)?.trim();
    if (node?.errno !== "EINVAL" || sizeText === undefined || majorMinor === undefined) return undefined;
    return { name, path, majorMinor, sizeBytes: sectors(sizeText), readOnly: textOf(ro)?.trim() === "1" };
  }

  /** Waits until a SCSI disk has at least this size, making the kernel ask the target again. */
  async awaitSize(device: string, sizeBytes: Bytes, o: CallOptions): Promise<BlockDevice> {
    const name = nameOf(device);
    let last: BlockDevice | undefined;
    try {
      return await waitFor(
        `${device} to have ${sizeBytes} bytes`,
        async () => {
          last = await this.find(device, o);
          if (last !== undefined && last.sizeBytes >= sizeBytes) return last;
          await this.#executor.files(
            [{ op: "write", path: `/sys/class/block/${name}/device/rescan`, content: "1", tolerate: ["ENOENT"] }],
            o,
          );
          last = await this.find(device, o);
          return last !== undefined && last.sizeBytes >= sizeBytes ? last : undefined;
        },
        o.signal,
        this.#waits.deviceBackoff,
      );
    } catch (error) {
      if (!(error instanceof StorageError) || error.reason !== "timeout") throw error;
      const seen = last === undefined ? "it is gone" : `it has ${last.sizeBytes}`;
      throw new StorageError("unavailable", `wait for ${device} on ${this.#executor.host} to grow: ${seen}`, { cause: error });
    }
  }

  async #resolve(link: string, o: CallOptions): Promise<BlockDevice | undefined> {
    const [found] = await this.#executor.files([{ op: "readlink", path: link, tolerate: ["ENOENT"] }], o);
    const target = textOf(found);
    return target === undefined ? undefined : await this.find(posix.resolve(posix.dirname(link), target), o);
  }

  /** Only the devices that udev's database shows no zvol link for; all of a host's would cost every other volume a probe. */
  async #announceUnlinkedZvols(dataset: DatasetName, o: CallOptions): Promise<void> {
    const [numbers, records] = await this.#executor.files(
      [
        { op: "read-glob", path: "/sys/block/zd*/dev" },
        { op: "read-glob", path: "/run/udev/data/b*" },
      ],
      o,
    );
    const linked = new Set(
      filesOf(records).flatMap(([path, text]) =>
        /^S:zvol\//m.test(text) ? [path.slice("/run/udev/data/b".length)] : [],
      ),
    );
    const unlinked = filesOf(numbers).flatMap(([path, number]) =>
      linked.has(number.trim()) ? [] : [`/dev/${path.split("/")[3] ?? ""}`],
    );
    if (unlinked.length === 0) {
      throw new StorageError("unavailable", `find the device of volume ${dataset} on ${this.#executor.host}: no zvol lacks its link`, {
        hint: `The volume has no device: is its volmode off, or pool ${poolOf(dataset)} imported without devices?`,
      });
    }
    // A failure shows in the wait that follows.
    await this.#executor.run(["udevadm", "trigger", "--action=change", ...unlinked], o);
  }

  #requireSerial(doing: string, { name, serial }: SessionDevice, expected: string): void {
    if (serial === expected) return;
    throw new StorageError("precondition", `${doing}: ${name} has the serial ${serial ?? ""}, not ${expected}`, {
      details: { host: this.#executor.host },
      hint: "This is another disk than the volume's. Disconnect it and look at the target's backstore.",
    });
  }
}

function nameOf(path: string): string {
  const match = /^\/dev\/([A-Za-z0-9_-]+)$/.exec(path);
  if (match?.[1] === undefined) throw new BugError(`${path} is not a device node's own path`);
  return match[1];
}
