import { CommandError, type CallOptions, type Executor, type FileOperation } from "@zfsilo/command";
import { KeyedMutex, StorageError, waitFor, wrapError } from "@zfsilo/lib";
import { entriesOf, filesOf, textOf } from "../file-results.ts";
import { nameHolders } from "../holders/holders.ts";
import { formatPortal, parseIqn, parsePortal, type Iqn, type Portal } from "../lio/names.ts";
import { mountinfoRead, mountsOfDevice, parseMountinfo } from "../mount/mountinfo.ts";
import { Tool, withTimeout } from "../tool.ts";
import { iscsiadmExits, iscsiadmFailures } from "./errors.ts";
import {
  formatInterface,
  formatRecord,
  interfaceName,
  portalDirectory,
  readSetting,
  recordPath,
  requireRecord,
  targetDirectory,
  type Interface,
  type NodeRecord,
  type NodeRecordKey,
} from "./record.ts";
import { readSessionIds, readSessions, readStacked, sessionNameReads, sessionReads, stackedReads, type Session } from "./sessions.ts";

export interface StoredNodeRecord {
  readonly target: string;
  readonly portal: Portal;
  readonly iface: string;
}

export interface SessionKey {
  readonly target: Iqn;
  readonly iface?: Interface;
}

export interface IscsiOptions {
  /** Where open-iscsi keeps its records. Default /etc/iscsi (Debian 12). */
  readonly databaseDirectory?: string;
}

/** Above what the record allows a login to take (record.ts), so that iscsid gives up first and leaves nothing behind. */
const loginTimeoutMs = 30_000;
/** Of a directory that is gone, or holds something else. */
const kept = ["ENOENT", "ENOTEMPTY", "EEXIST"];
const sessionBackoff = { firstMs: 10, maxMs: 250, limitMs: 10_000 };

/** The open-iscsi initiator. Sessions are seen through sysfs, records are files; iscsiadm only logs in, out and rescans. */
export class Iscsi {
  readonly #executor: Executor;
  readonly #tool: Tool;
  readonly #database: string;
  /** Two logins to one target at once make two sessions (open-iscsi issue 108). */
  readonly #logins = new KeyedMutex();

  constructor(executor: Executor, { databaseDirectory = "/etc/iscsi" }: IscsiOptions = {}) {
    this.#executor = executor;
    this.#tool = new Tool(executor, iscsiadmFailures);
    this.#database = databaseDirectory;
  }

  async version(o: CallOptions): Promise<string> {
    const stdout = await this.#tool.run("read the open-iscsi version", ["iscsiadm", "--version"], o);
    return stdout.trim().replace(/^iscsiadm version /, "");
  }

  /** The host's own name as an initiator. */
  async initiatorName(o: CallOptions): Promise<Iqn> {
    const path = `${this.#database}/initiatorname.iscsi`;
    const [file] = await this.#executor.files([{ op: "read", path, tolerate: ["ENOENT"] }], o);
    const name = readSetting(textOf(file) ?? "", "InitiatorName");
    if (name === undefined || name === "") {
      throw new StorageError("precondition", `read the initiator name of ${this.#executor.host}: ${path} has none`, {
        hint: "Write InitiatorName=iqn.… there (`iscsi-iname` makes one) and restart iscsid.",
      });
    }
    try {
      return parseIqn(name, path);
    } catch (error) {
      throw new StorageError("precondition", `read the initiator name of ${this.#executor.host}`, { cause: error });
    }
  }

  /**
   * Writes the record a login needs, with its secret, replacing an earlier one. Running sessions are not touched. Answers the other
   * portals that there are records of this target for.
   */
  async writeNodeRecord(record: NodeRecord, o: CallOptions): Promise<readonly Portal[]> {
    requireRecord(record);
    const directory = (path: string): FileOperation => ({ op: "mkdir", path, mode: 0o700, tolerate: ["EEXIST"] });
    const results = await this.#executor.files(
      [
        directory(`${this.#database}/nodes`),
        directory(targetDirectory(this.#database, record.target)),
        directory(portalDirectory(this.#database, record)),
        {
          op: "write",
          path: recordPath(this.#database, record),
          content: formatRecord(record),
          secret: true,
          create: { mode: 0o600 },
        },
        { op: "list", path: targetDirectory(this.#database, record.target) },
      ],
      o,
    );
    const own = formatPortal(record.portal);
    return portalsIn(entriesOf(results.at(-1))).filter((portal) => formatPortal(portal) !== own);
  }

  /** Removes one record, and its directories when they hold no other. Absent is done. */
  async removeNodeRecord(key: NodeRecordKey, o: CallOptions): Promise<void> {
    await this.#executor.files([...this.#recordRemoval(key), this.#targetRemoval(key.target)], o);
  }

  async listNodeRecords(o: CallOptions): Promise<StoredNodeRecord[]> {
    const [found] = await this.#executor.files([{ op: "read-glob", path: `${this.#database}/nodes/*/*/*` }], o);
    return filesOf(found).flatMap(([path]) => {
      const [target, portal, iface] = path.slice(`${this.#database}/nodes/`.length).split("/");
      const [, address, port] = /^([^,]+),(\d+),\d+$/.exec(portal ?? "") ?? [];
      if (target === undefined || iface === undefined || address === undefined) return [];
      return [{ target, iface, portal: parsePortal({ address, port: Number(port) }) }];
    });
  }

  /** The targets there are records for, whatever their portals: one look at one directory. */
  async listRecordedTargets(o: CallOptions): Promise<readonly string[]> {
    const [found] = await this.#executor.files([{ op: "list", path: `${this.#database}/nodes`, tolerate: ["ENOENT"] }], o);
    return entriesOf(found) ?? [];
  }

  /**
   * Removes the records of a target for every portal, of the host's own interface. None is done. With `likely` portals, those that
   * are known to the caller, one round trip is enough when there are no others.
   */
  async removeRecordsOf(target: Iqn, o: CallOptions, likely: readonly Portal[] = []): Promise<void> {
    const removal = (portals: readonly Portal[]): FileOperation[] => [
      ...portals.flatMap((portal) => this.#recordRemoval({ target, portal })),
      this.#targetRemoval(target),
    ];
    const list: FileOperation = { op: "list", path: targetDirectory(this.#database, target), tolerate: ["ENOENT"] };
    const results = await this.#executor.files([...removal(likely), list], o);
    const others = portalsIn(entriesOf(results.at(-1)));
    if (others.length > 0) await this.#executor.files(removal(others), o);
  }

  /** Gives the machine a second identity, under which it can log in as another initiator. */
  async writeInterface(iface: Interface, o: CallOptions): Promise<void> {
    const directory = `${this.#database}/ifaces`;
    await this.#executor.files(
      [
        { op: "mkdir", path: directory, mode: 0o700, tolerate: ["EEXIST"] },
        {
          op: "write",
          path: `${directory}/${iface.name}`,
          content: formatInterface(iface),
          create: { mode: 0o600 },
        },
      ],
      o,
    );
  }

  async removeInterface(name: string, o: CallOptions): Promise<void> {
    await this.#executor.files([{ op: "unlink", path: `${this.#database}/ifaces/${name}`, tolerate: ["ENOENT"] }], o);
  }

  /** Every session of the host with its devices, in one round trip. */
  async listSessions(o: CallOptions): Promise<Session[]> {
    return readSessions(await this.#executor.files(sessionReads(), o));
  }

  /** The session to a target through one interface (default: the host's own). */
  async findSession({ target, iface }: SessionKey, o: CallOptions): Promise<Session | undefined> {
    const name = interfaceName(iface);
    const [sid] = readSessionIds(await this.#executor.files(sessionNameReads, o), target, name);
    return sid === undefined ? undefined : (await this.#readSessions([sid], { target, name }, o))[0];
  }

  /** Logs in by the record, unless a session is there, and returns the session as sysfs shows it once it is logged in. */
  async login({ target, portal, iface }: NodeRecordKey, o: CallOptions): Promise<Session> {
    const key: SessionKey = { target, ...(iface === undefined ? {} : { iface }) };
    using _turn = await this.#logins.acquire(`${target} ${interfaceName(iface)}`, o.signal);
    const doing = `log in to ${target} at ${formatPortal(portal)}`;
    const present = await this.findSession(key, o);
    if (present?.state === "LOGGED_IN") return present;
    if (present === undefined) await this.#login(doing, { target, portal }, iface, o);
    try {
      // A session that was there may be recovering; iscsiadm's success is read back here too (I4).
      return await waitFor(
        `the session to ${target} to be logged in`,
        async () => {
          const session = await this.findSession(key, o);
          return session?.state === "LOGGED_IN" ? session : undefined;
        },
        o.signal,
        sessionBackoff,
      );
    } catch (error) {
      throw new StorageError(error instanceof StorageError ? "unavailable" : "aborted", `${doing} on ${this.#executor.host}`, {
        cause: error,
        hint: "The target does not answer, or has fenced this host off.",
      });
    }
  }

  /**
   * Ends the sessions to a target, of one interface. Refused while a device of theirs is mounted: the file system would
   * lose what it has not written. None is done.
   */
  async logout({ target, iface }: SessionKey, o: CallOptions): Promise<void> {
    const name = interfaceName(iface);
    using _turn = await this.#logins.acquire(`${target} ${name}`, o.signal);
    const doing = `log out of ${target}`;
    const results = await this.#executor.files([mountinfoRead, ...stackedReads, ...sessionNameReads], o);
    const mounts = parseMountinfo(textOf(results[0]) ?? "");
    const sids = readSessionIds(results.slice(1 + stackedReads.length), target, name);
    if (sids.length === 0) return;
    const stacked = readStacked(results.slice(1), sids);
    const { host } = this.#executor;
    if (stacked.length > 0) throw nameHolders(new StorageError("precondition", `${doing} on ${host}: its device is in use`, { details: { host } }), stacked);
    const sessions = await this.#readSessions(sids, { target, name }, o);
    const mounted = sessions.flatMap(({ devices }) => devices).flatMap((device) => mountsOfDevice(mounts, device));
    if (mounted[0] !== undefined) {
      throw new StorageError("precondition", `${doing} on ${this.#executor.host}: its device is mounted`, {
        details: { host: this.#executor.host, mountPoint: mounted[0].target },
        hint: `Unmount ${mounted.map((mount) => mount.target).join(", ")} first.`,
      });
    }
    await this.#endSessions(doing, target, name, o);
  }

  /**
   * Ends a dead session although its device is mounted: what waits for it fails at once, where it would hang until
   * replacement_timeout, and the mount can be taken away. Refused while the session is logged in. None is done.
   */
  async abandonSession({ target, iface }: SessionKey, o: CallOptions): Promise<void> {
    const name = interfaceName(iface);
    using _turn = await this.#logins.acquire(`${target} ${name}`, o.signal);
    const doing = `abandon the session to ${target}`;
    const sids = readSessionIds(await this.#executor.files(sessionNameReads, o), target, name);
    if (sids.length === 0) return;
    const alive = (await this.#readSessions(sids, { target, name }, o)).find(({ state }) => state === "LOGGED_IN");
    if (alive !== undefined) {
      throw new StorageError("precondition", `${doing} on ${this.#executor.host}: it is logged in`, {
        details: { host: this.#executor.host },
        hint: "Shut the initiator out at the target first, or unmount what is mounted of it.",
      });
    }
    await this.#endSessions(doing, target, name, o);
  }

  /** The portal's directory stays while it holds the record of another interface. */
  #recordRemoval(key: NodeRecordKey): FileOperation[] {
    return [
      { op: "unlink", path: recordPath(this.#database, key), tolerate: ["ENOENT"] },
      { op: "rmdir", path: portalDirectory(this.#database, key), tolerate: kept },
    ];
  }

  #targetRemoval(target: Iqn): FileOperation {
    return { op: "rmdir", path: targetDirectory(this.#database, target), tolerate: kept };
  }

  /** Makes the initiator look again at the LUNs of a session. */
  async rescan(sid: number, o: CallOptions): Promise<void> {
    const argv = ["iscsiadm", "-m", "session", "-r", String(sid), "--rescan"] as const;
    await this.#tool.run(`rescan session ${sid}`, argv, o);
  }

  async #endSessions(doing: string, target: Iqn, name: string, o: CallOptions): Promise<void> {
    const argv = ["iscsiadm", "-m", "node", "-T", target, "-I", name, "--logout"] as const;
    const result = await this.#tool.exit(argv, withTimeout(o, loginTimeoutMs));
    if (result.exitCode !== 0 && result.exitCode !== iscsiadmExits.noObjectsFound) {
      throw this.#tool.failure(doing, argv, result);
    }
    await waitFor(
      `the session to ${target} to end`,
      async () => {
        const left = readSessionIds(await this.#executor.files(sessionNameReads, o), target, name);
        return left.length === 0 ? true : undefined;
      },
      o.signal,
      sessionBackoff,
    );
  }

  /** Their ids were read before: one that ended meanwhile, whose id another may have got, is left out. */
  async #readSessions(
    sids: readonly number[],
    { target, name }: { readonly target: Iqn; readonly name: string },
    o: CallOptions,
  ): Promise<Session[]> {
    const reads = sids.map((sid) => sessionReads(sid));
    const results = await this.#executor.files(reads.flat(), o);
    return reads
      .flatMap((one, index) => readSessions(results.slice(index * one.length, (index + 1) * one.length)))
      .filter((session) => session.target === target && session.iface === name);
  }

  async #login(
    doing: string,
    { target, portal }: { target: Iqn; portal: Portal },
    iface: Interface | undefined,
    o: CallOptions,
  ): Promise<void> {
    const address = formatPortal(portal);
    const argv = ["iscsiadm", "-m", "node", "-T", target, "-p", address, "-I", interfaceName(iface), "--login"] as const;
    try {
      const result = await this.#tool.exit(argv, withTimeout(o, loginTimeoutMs));
      // 15 after an interrupted login can lie (hosts.md): the caller looks in sysfs.
      if (result.exitCode === 0 || result.exitCode === iscsiadmExits.sessionExists) return;
      throw this.#tool.failure(doing, argv, result);
    } catch (error) {
      if (error instanceof CommandError && error.reason === "timeout") {
        throw new StorageError("unavailable", `${doing} on ${this.#executor.host}`, {
          cause: error,
          hint: "The target accepts connections but does not finish the login: is it enabled?",
        });
      }
      throw error instanceof CommandError ? wrapError(doing, error) : error;
    }
  }
}

/** Of the names of portal directories, `ADDRESS,PORT,TPGT`. */
function portalsIn(entries: readonly string[] = []): Portal[] {
  return entries.flatMap((entry) => {
    const [, address, port] = /^([^,]+),(\d+),\d+$/.exec(entry) ?? [];
    return address === undefined ? [] : [parsePortal({ address, port: Number(port) })];
  });
}
