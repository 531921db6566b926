import type { Argv, CallOptions, Executor } from "@zfsilo/command";
import { invalidField, StorageError } from "@zfsilo/lib";
import { createHash } from "node:crypto";
import { Tool } from "../tool.ts";
import { freezeFailures } from "./freeze-errors.ts";
import { parseHostPath, type HostPath } from "./host-path.ts";
import { Mounts, type MountsOptions } from "./mounts.ts";

export interface FreezeOptions {
  /** 1 to 60: how long it may stay frozen. */
  readonly limitSeconds: number;
}

/** What stands for itself in a command line of a systemd unit: no quote, space, `$` or `%`. */
const plainPath = /^[A-Za-z0-9_/.:@~+,=-]+$/;

/**
 * Stops a filesystem's writers for as long as a snapshot takes (fsfreeze(8)): what was written before is on the volume, and
 * writes wait. A filesystem that stays frozen hangs its host, so the thaw must come also when we die, lose the connection
 * or are stopped together with all we started. It is therefore the host's systemd that freezes: a transient service whose
 * start freezes, which sleeps to the limit, and whose end, however it comes, thaws (systemd.service(5), ExecStopPost).
 */
export class Freezer {
  readonly #executor: Executor;
  readonly #tool: Tool;
  readonly #mounts: Mounts;

  constructor(executor: Executor, options: MountsOptions = {}) {
    this.#executor = executor;
    this.#tool = new Tool(executor, freezeFailures);
    this.#mounts = new Mounts(executor, options);
  }

  /**
   * Freezes the filesystem mounted at `path`, until thaw() or the limit. One that we have frozen is thawed and frozen again:
   * the limit counts from now. Whether it stayed frozen only thaw() can tell.
   */
  async freeze(path: HostPath, { limitSeconds }: FreezeOptions, o: CallOptions): Promise<void> {
    if (!Number.isInteger(limitSeconds) || limitSeconds < 1 || limitSeconds > 60) {
      throw invalidField("freeze_limit_seconds", "is not 1 to 60");
    }
    const doing = `freeze ${path}`;
    const place = await this.#place(doing, path, o);
    // The start may take as long again, when much waits to be written; then the thaw.
    const options: CallOptions = { signal: o.signal, timeoutMs: o.timeoutMs ?? (2 * limitSeconds + 10) * 1000 };
    const argv = freezeArgv(place, limitSeconds);
    const result = await this.#tool.exit(argv, options);
    if (result.exitCode === 0) return;
    const failure = this.#tool.failure(doing, argv, result);
    if (failure.reason !== "already_exists") throw failure;
    await this.#thaw(place, o);
    await this.#tool.run(doing, argv, options);
  }

  /**
   * Thaws it. Done when it is not frozen. True when it was frozen until this moment: only then did nothing write since
   * freeze() returned.
   */
  async thaw(path: HostPath, o: CallOptions): Promise<boolean> {
    const mount = await this.#mounts.find(path, o);
    // A filesystem that is not mounted there any more is not frozen for us; fsfreeze would act on the one around it.
    if (mount === undefined) {
      await this.#stop(parseHostPath(path), o);
      return false;
    }
    return await this.#thaw(parseHostPath(mount.target), o);
  }

  async #thaw(place: HostPath, o: CallOptions): Promise<boolean> {
    const doing = `thaw ${place}`;
    const argv: Argv = ["fsfreeze", "--unfreeze", place];
    const result = await this.#tool.exit(argv, o);
    // EINVAL: it is not frozen (fs/super.c, thaw_super_locked).
    const wasFrozen = result.exitCode === 0;
    if (!wasFrozen && !/unfreeze failed: Invalid argument/.test(result.stderr)) throw this.#tool.failure(doing, argv, result);
    await this.#stop(place, o);
    return wasFrozen;
  }

  /** Ends the service; its own thaw has nothing left to do. */
  async #stop(place: HostPath, o: CallOptions): Promise<void> {
    const argv: Argv = ["systemctl", "stop", `${unitName(place)}.service`];
    const result = await this.#tool.exit(argv, o);
    if (result.exitCode === 0) return;
    const failure = this.#tool.failure(`end the freeze of ${place}`, argv, result);
    if (failure.reason !== "not_found") throw failure;
  }

  /** The mount's own place, links followed. On a path that is no mount fsfreeze would freeze what lies around it: the root. */
  async #place(doing: string, path: HostPath, o: CallOptions): Promise<HostPath> {
    const mount = await this.#mounts.find(path, o);
    const { host } = this.#executor;
    if (mount === undefined || mount.target === "/") {
      throw new StorageError("precondition", `on ${host}: ${doing}: nothing is mounted there`, { details: { host } });
    }
    if (!plainPath.test(mount.target)) {
      throw invalidField("path", "has a character that cannot stand in a systemd unit", "Mount the volume at a plainer path.");
    }
    return parseHostPath(mount.target);
  }
}

function unitName(place: HostPath): string {
  return `zfsilo-freeze-${createHash("sha256").update(place).digest("hex").slice(0, 16)}`;
}

function freezeArgv(place: HostPath, limitSeconds: number): Argv {
  return [
    ...(["systemd-run", "--collect", `--unit=${unitName(place)}`] as const),
    // Returns when the service runs, which is after the freeze.
    "--property=Type=exec",
    `--property=AssertPathIsMountPoint=${place}`,
    `--property=TimeoutStartSec=${limitSeconds}`,
    `--property=TimeoutStopSec=${limitSeconds}`,
    `--property=ExecStartPre=fsfreeze --freeze ${place}`,
    `--property=ExecStopPost=-fsfreeze --unfreeze ${place}`,
    ...["sleep", String(limitSeconds)],
  ];
}
