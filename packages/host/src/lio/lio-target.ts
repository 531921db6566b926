import { FileOperationError, type CallOptions, type Executor, type FileOperation, type FileResult } from "@zfsilo/command";
import { invalidField, pauses, retry, StorageError, wrapError, type Secret, type VolumeHandle } from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import { hasControlCharacter } from "../control-characters.ts";
import { entriesOf, namedFiles, textOf } from "../file-results.ts";
import { findHolders, nameHolders } from "../holders/holders.ts";
import { loadModules } from "../modules.ts";
import { assertAdoptable, buildOperations, isComplete, missingOperations, removalOperations } from "./build.ts";
import type { ExportKey, ExportSpec, LioExport } from "./export.ts";
import { endedAll, fenceOperations, fenceReads, readFence, reopening, type FenceState } from "./fence.ts";
import { listReads, readExports } from "./list.ts";
import { generationWrite } from "./generation.ts";
import { formatPortal, readPortal, type Iqn, type Portal } from "./names.ts";
import { aclPath, backstorePath, hbaPath, iscsiRoot, lunPath, mappedLinkName, targetRoot, tpgPath } from "./paths.ts";
import { describeHolder, holderRemedy, holdersOf, portReads } from "./port-holders.ts";
import { exportOf, readState, stateReads } from "./state.ts";

export interface Chap {
  readonly userid: string;
  readonly password: Secret;
  /** What the target answers with, for mutual CHAP; both or neither. */
  readonly mutualUserid?: string;
  readonly mutualPassword?: Secret;
}

export interface InitiatorSpec {
  readonly target: Iqn;
  readonly initiator: Iqn;
  readonly chap?: Chap;
  /** The target answers its writes with "write protected", and its disk is read-only. Default false. */
  readonly readOnly?: boolean;
  readonly mark?: GenerationMark;
}

/** Which backstore is told how new the access to it is. */
export interface GenerationMark {
  readonly handle: VolumeHandle;
  readonly generation: number;
}

/** E512 is ERESTARTSYS leaking out of LIO while other volumes are being made (hosts.md): passes within a second. */
const transient: readonly string[] = ["E512", "EBUSY", "EAGAIN", "ENOTEMPTY"];
/** What a concurrent maker or remover of the same pieces leaves us with; a fresh look tells what is still missing. */
const raced: readonly string[] = ["EEXIST", "ENOENT"];
const backoff = { firstMs: 20, maxMs: 500, limitMs: 10_000 };

/** Exports of volumes over iSCSI by the kernel's target (LIO), driven through configfs alone. */
export class LioTarget {
  readonly #executor: Executor;

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  /** Loads what an export needs, once per boot of the host. ensureExport does it when it finds the modules missing. */
  async ensureModules(o: CallOptions): Promise<void> {
    await loadModules(this.#executor, ["target_core_mod", "target_core_iblock", "iscsi_target_mod"], o);
    try {
      await this.#executor.files([{ op: "list", path: targetRoot }], o);
    } catch (error) {
      throw wrapError(`find the iSCSI target's configfs on ${this.#executor.host}`, error);
    }
  }

  /** Publishes a device. A fresh export is one round trip; whatever is there already is completed, never replaced. */
  async ensureExport(spec: ExportSpec, o: CallOptions): Promise<LioExport> {
    if (spec.portals.length === 0) throw invalidField("portals", "is empty");
    if (!/^\/dev\/[^\s,]+$/.test(spec.devicePath)) throw invalidField("device_path", "is not a device path");
    const doing = `export ${spec.devicePath} as ${spec.target}`;
    let operations: readonly FileOperation[] | undefined = buildOperations(spec);
    let modulesLoaded = false;
    const state = await retry(
      async () => {
        if (operations === undefined) {
          const seen = await this.#state(spec, o);
          assertAdoptable(this.#executor.host, spec, seen);
          operations = missingOperations(spec, seen);
        }
        const batch = operations;
        operations = undefined;
        try {
          return readState(spec, await this.#executor.files([...batch, ...stateReads(spec)], o));
        } catch (error) {
          if (!modulesLoaded && isMissingModule(error)) {
            await this.ensureModules(o);
            modulesLoaded = true;
          }
          throw error;
        }
      },
      (error) => isTransient(error) || (isErrno(error, raced) && !isMissingDevice(error)),
      o.signal,
      backoff,
    ).catch(async (error: unknown) => {
      throw await this.#explain(doing, error, spec, o);
    });
    assertAdoptable(this.#executor.host, spec, state);
    const made = exportOf(spec, state);
    if (made === undefined || !isComplete(spec, state)) {
      throw this.#error("internal", `${doing}: the export is not complete when read back`);
    }
    return made;
  }

  /** Undefined when neither backstore nor target is there. */
  async findExport(key: ExportKey, o: CallOptions): Promise<LioExport | undefined> {
    return exportOf(key, await this.#state(key, o));
  }

  /** Every export of the host, whole or partial, whose name is a volume handle; one round trip. */
  async listExports(o: CallOptions): Promise<LioExport[]> {
    const longer = { ...o, timeoutMs: o.timeoutMs ?? 120_000 };
    return readExports(await this.#executor.files(listReads, longer));
  }

  /** The target listens there no more. Sessions through its other portals go on. Absent is done. */
  async removePortals(target: Iqn, portals: readonly Portal[], o: CallOptions): Promise<void> {
    const doing = `remove portals of ${target}`;
    const directory = `${tpgPath(target)}/np`;
    const names = portals.map(formatPortal);
    const results = await this.#retried(
      doing,
      [
        ...names.map((name): FileOperation => ({ op: "rmdir", path: `${directory}/${name}`, tolerate: ["ENOENT"] })),
        { op: "list", path: directory, tolerate: ["ENOENT"] },
      ],
      o,
    );
    const left = (entriesOf(results.at(-1)) ?? []).filter((name) => names.includes(name));
    if (left.length > 0) throw this.#error("internal", `${doing}: ${left.join(", ")} is still there`);
  }

  /** Takes an export down from whatever state it is in, with its ACLs. Done when nothing of it is left. */
  async removeExport(key: ExportKey, o: CallOptions): Promise<void> {
    const doing = `remove export ${key.target}`;
    let state = await this.#state(key, o);
    await retry(
      async () => {
        const operations = removalOperations(key, state);
        if (operations.length === 0) return;
        try {
          state = readState(key, await this.#executor.files([...operations, ...stateReads(key)], o));
        } catch (error) {
          if (isTransient(error)) state = await this.#state(key, o);
          throw error;
        }
      },
      isTransient,
      o.signal,
      backoff,
    ).catch((error: unknown) => {
      throw this.#wrap(doing, error, "Something else on the host is linked to this target or backstore.");
    });
    if (exportOf(key, state) !== undefined) throw this.#error("internal", `${doing}: part of it is still there`);
  }

  /**
   * Lets one initiator in: ACL, mapped LUN, credentials. Repeating it with other credentials changes them. Those come last: a mapped
   * LUN is writable from its link on until it is protected (target_core_fabric_configfs.c), and with CHAP nobody is in before.
   */
  async ensureInitiator({ target, initiator, chap, readOnly = false, mark }: InitiatorSpec, o: CallOptions): Promise<void> {
    if (chap !== undefined) requireChap(chap);
    const doing = `admit ${initiator} to ${target}`;
    const acl = aclPath(target, initiator);
    const tpg = tpgPath(target);
    const operations: FileOperation[] = [
      ...markOf(mark),
      { op: "mkdir", path: acl, tolerate: ["EEXIST"] },
      { op: "mkdir", path: `${acl}/lun_0`, tolerate: ["EEXIST"] },
      { op: "symlink", path: `${acl}/lun_0/${mappedLinkName}`, target: lunPath(target), tolerate: ["EEXIST"] },
      { op: "write", path: `${acl}/lun_0/write_protect`, content: readOnly ? "1" : "0" },
      ...(chap === undefined ? [] : credentialWrites(acl, chap)),
      { op: "readlink", path: `${acl}/lun_0/${mappedLinkName}` },
      { op: "read", path: `${acl}/lun_0/write_protect` },
      { op: "read", path: `${acl}/auth/userid` },
      { op: "read", path: `${acl}/info` },
      { op: "read", path: `${tpg}/attrib/authentication` },
      { op: "read", path: `${tpg}/enable` },
    ];
    const results = await this.#retried(doing, operations, o);
    const [isProtected, userid, , authentication, enabled] = results.slice(-5).map((result) => textOf(result)?.trim());
    if (isProtected !== (readOnly ? "1" : "0")) throw this.#error("internal", `${doing}: its write protection does not read back`);
    if (chap !== undefined && userid !== chap.userid) {
      throw this.#error("internal", `${doing}: the CHAP user id does not read back`);
    }
    if (chap === undefined && authentication === "1") {
      throw this.#error("precondition", `${doing}: the target demands CHAP and no credentials were given`);
    }
    if (enabled !== "1") throw this.#error("precondition", `${doing}: the target is not enabled`);
  }

  /**
   * The fence: keeps the initiator out and ends its session, which is read back. Needs nothing of the initiator, which may be dead. The TPG is
   * closed meanwhile: with the mapped LUN gone and the session alive, LIO would answer LUN 0 with zeros (hosts.md, fencing).
   * Other initiators of this target come back by themselves within seconds.
   */
  async removeInitiator(target: Iqn, initiator: Iqn, o: CallOptions, mark?: GenerationMark): Promise<void> {
    const doing = `fence ${initiator} off ${target}`;
    const operations = fenceOperations(target, initiator, markOf(mark));
    let state: FenceState;
    try {
      const results = await retry(async () => await this.#executor.files(operations, o), isTransient, o.signal, backoff);
      state = readFence(initiator, results);
      if (endedAll(operations, target, results)) state = { ...state, lingering: false };
    } catch (error) {
      const alreadyGone = isErrno(error, ["ENOENT"]) && error.index === 0;
      if (!alreadyGone) throw this.#wrap(doing, error);
      state = readFence(initiator, await this.#executor.files([...markOf(mark), ...fenceReads(target)], o));
      // A fence that was cut off after the ACL went and before the TPG was opened again.
      if (!state.enabled) state = readFence(initiator, await this.#retried(doing, [reopening(target), ...fenceReads(target)], o));
    }
    if (state.admitted) throw this.#error("internal", `${doing}: its ACL is still there`);
    if (!state.enabled) throw this.#error("internal", `${doing}: the target stayed disabled`);
    for (const wait of pauses(backoff)) {
      if (!state.lingering) return;
      await sleep(wait, undefined, { signal: o.signal });
      state = readFence(initiator, await this.#executor.files(fenceReads(target), o));
    }
    if (state.lingering) throw this.#error("unavailable", `${doing}: its access is gone and its session has not ended yet`);
  }

  /** Looks for who is in the way, where the kernel only says that something is. */
  async #explain(doing: string, error: unknown, spec: ExportSpec, o: CallOptions): Promise<StorageError> {
    if (isMissingDevice(error)) return this.#wrap(doing, error, "The volume's device is not there yet, or is gone.");
    if (isErrno(error, ["EBUSY"]) && isEnabling(error)) {
      const held = this.#wrap(doing, error, "Something else on the host has the device open: `lsof` names programs.");
      return nameHolders(held, await findHolders(this.#executor, spec.devicePath, o, backstorePath(spec.handle)));
    }
    const refused = refusedPortal(error);
    const portal = refused === undefined ? undefined : readPortal(refused);
    if (portal === undefined) return this.#wrap(doing, error);
    const found = await namedFiles(this.#executor, portReads, o).then(
      (files) => holdersOf(portal, files),
      () => [],
    );
    const [holder] = found;
    const { host } = this.#executor;
    const why = holder === undefined ? "the kernel refuses that address and port" : found.map(describeHolder).join(", ");
    return new StorageError("precondition", `${doing} on ${host}: listen at ${refused}: ${why}`, {
      cause: error,
      details: { host, portal: refused ?? "", ...(holder !== undefined && { reason: "PORTAL_IN_USE" }) },
      hint: holder === undefined ? "Look at `dmesg` on the host, and at the portals of the host." : holderRemedy(holder),
    });
  }

  /** Tells an export that what uses it has changed elsewhere. Nothing when there is none. */
  async markGeneration(mark: GenerationMark, o: CallOptions): Promise<void> {
    await this.#executor.files(markOf(mark), o);
  }

  async #state(key: ExportKey, o: CallOptions): Promise<ReturnType<typeof readState>> {
    return readState(key, await this.#executor.files(stateReads(key), o));
  }

  async #retried(doing: string, operations: readonly FileOperation[], o: CallOptions): Promise<readonly FileResult[]> {
    try {
      return await retry(async () => await this.#executor.files(operations, o), isTransient, o.signal, backoff);
    } catch (error) {
      throw this.#wrap(doing, error);
    }
  }

  #wrap(doing: string, error: unknown, hint?: string): StorageError {
    const message = `${doing} on ${this.#executor.host}`;
    if (error instanceof StorageError && error.message.startsWith(message)) return error;
    if (!(error instanceof FileOperationError)) return wrapError(message, error);
    // A missing configfs directory means the export is not there; errno alone cannot say of what.
    const reason = error.errno === "ENOENT" ? "precondition" : isTransient(error) ? "busy" : error.reason;
    return new StorageError(reason, message, {
      cause: error,
      details: error.details,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  #error(reason: StorageError["reason"], doing: string): StorageError {
    const { host } = this.#executor;
    return new StorageError(reason, `on ${host}: ${doing}`, { details: { host } });
  }
}

/** An export that is gone has nothing to be told. */
function markOf(mark: GenerationMark | undefined): FileOperation[] {
  return mark === undefined ? [] : [{ ...generationWrite(mark.handle, mark.generation), tolerate: ["ENOENT"] }];
}

/** Written without a newline, which LIO would keep as part of the value. `NULL` is its word for "none". */
function credentialWrites(acl: string, chap: Chap): FileOperation[] {
  const { userid, password, mutualUserid = "NULL", mutualPassword } = chap;
  return [
    { op: "write", path: `${acl}/auth/password`, content: password.reveal(), secret: true },
    { op: "write", path: `${acl}/auth/userid_mutual`, content: mutualUserid },
    { op: "write", path: `${acl}/auth/password_mutual`, content: mutualPassword?.reveal() ?? "NULL", secret: true },
    // Last, because it alone is compared later: where it is right, so is the rest.
    { op: "write", path: `${acl}/auth/userid`, content: userid },
  ];
}

/**
 * LIO keeps 255 bytes (iscsi_target_auth.h), and takes a user id that begins with `0x` or `0b` for a number, which it then finds
 * to match nothing (extract_param, iscsi_target_nego.c; seen on 6.1); open-iscsi reads its record by lines.
 */
function requireChap({ userid, password, mutualUserid, mutualPassword }: Chap): void {
  if ((mutualUserid === undefined) !== (mutualPassword === undefined)) {
    throw invalidField("chap", "mutual user id and password come together");
  }
  const values = { userid, password: password.reveal(), mutualUserid, mutualPassword: mutualPassword?.reveal() };
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const bad = value === "" || value.startsWith("NULL") || hasControlCharacter(value) || Buffer.byteLength(value) > 255;
    if (bad) throw invalidField(`chap.${name}`, "must be 1 to 255 printable bytes that do not begin with NULL");
    const number = !name.toLowerCase().includes("password") && /^0[xb]/i.test(value);
    if (number) throw invalidField(`chap.${name}`, "cannot begin with 0x or 0b, which the target reads as a number");
  }
}

function isErrno(error: unknown, errnos: readonly string[]): error is FileOperationError {
  return error instanceof FileOperationError && errnos.includes(error.errno);
}

function isTransient(error: unknown): boolean {
  return isErrno(error, transient);
}

/** Without its modules configfs has no place for the fabric or the HBA: the first thing after a boot of the host. */
function isMissingModule(error: unknown): boolean {
  return isErrno(error, ["ENOENT"]) && [iscsiRoot, hbaPath].includes(error.operation.path);
}

/**
 * The portal that could not be made. Whatever hinders it, an address in use above all, is EINVAL
 * (target_fabric_make_np, target_core_fabric_configfs.c).
 */
function refusedPortal(error: unknown): string | undefined {
  if (!isErrno(error, ["EINVAL"]) || error.operation.op !== "mkdir") return undefined;
  return /\/np\/([^/]+)$/.exec(error.operation.path)?.[1];
}

/** Enabling a backstore opens its device, for itself. */
function isEnabling(error: FileOperationError): boolean {
  return /\/core\/iblock_0\/[^/]+\/enable$/.test(error.operation.path);
}

function isMissingDevice(error: unknown): boolean {
  return isErrno(error, ["ENOENT"]) && isEnabling(error);
}
