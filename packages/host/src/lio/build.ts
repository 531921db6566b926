import type { FileOperation } from "@zfsilo/command";
import { StorageError } from "@zfsilo/lib";
import type { ExportKey, ExportSpec } from "./export.ts";
import { generationWrite } from "./generation.ts";
import { formatPortal } from "./names.ts";
import { aclPath, backstorePath, fixedAttributes, hbaPath, iscsiRoot, lunPath, mappedLinkName, targetPath, tpgPath } from "./paths.ts";
import type { LioState } from "./state.ts";

const nothing: LioState = {
  fabric: false,
  target: false,
  tpg: false,
  lun: false,
  linked: false,
  portals: [],
  enabled: false,
  attributes: {},
  initiators: [],
};

/** Everything an export needs, in the one order that works: a backstore is enabled before it is linked, a TPG last. */
export function buildOperations(spec: ExportSpec): FileOperation[] {
  return missingOperations(spec, nothing);
}

/** The operations of buildOperations that the host's state still lacks, in the same order. */
export function missingOperations(spec: ExportSpec, state: LioState): FileOperation[] {
  const { handle, target, devicePath } = spec;
  const backstore = backstorePath(handle);
  const tpg = tpgPath(target);
  const present = state.backstore;
  const operations: FileOperation[] = [];
  const need = (condition: boolean, ...added: FileOperation[]): void => {
    if (condition) operations.push(...added);
  };

  need(!state.fabric, { op: "mkdir", path: iscsiRoot, tolerate: ["EEXIST"] });
  need(
    present === undefined,
    { op: "mkdir", path: hbaPath, tolerate: ["EEXIST"] },
    { op: "mkdir", path: backstore },
  );
  need(
    (present?.devicePath ?? "") === "",
    { op: "write", path: `${backstore}/control`, content: `udev_path=${devicePath}` },
    { op: "write", path: `${backstore}/udev_path`, content: devicePath },
  );
  need((present?.serial ?? "") === "", { op: "write", path: `${backstore}/wwn/vpd_unit_serial`, content: handle });
  need(present?.enabled !== true, { op: "write", path: `${backstore}/enable`, content: "1" });
  need(
    state.emulateTpu !== "1",
    // ENOSYS: the device below knows no discard (target_core_configfs.c, emulate_tpu_store). Then the volume only cannot shrink
    // its use of the pool.
    { op: "write", path: `${backstore}/attrib/emulate_tpu`, content: "1", tolerate: ["ENOSYS"] },
  );
  if (spec.generation !== undefined) need(present?.generation !== spec.generation, generationWrite(handle, spec.generation));
  need(!state.target, { op: "mkdir", path: targetPath(target) });
  need(!state.tpg, { op: "mkdir", path: tpg });
  need(!state.lun, { op: "mkdir", path: lunPath(target) });
  need(!state.linked, { op: "symlink", path: `${lunPath(target)}/${handle}`, target: backstore });
  for (const [name, value] of Object.entries(wantedAttributes(spec))) {
    need(state.attributes[name] !== value, { op: "write", path: `${tpg}/attrib/${name}`, content: value });
  }
  for (const portal of spec.portals.map(formatPortal)) {
    need(!state.portals.includes(portal), { op: "mkdir", path: `${tpg}/np/${portal}` });
  }
  // EINVAL: another caller enabled it in between (iscsi_target_tpg.c); the read-back decides.
  need(!state.enabled, { op: "write", path: `${tpg}/enable`, content: "1", tolerate: ["EINVAL"] });
  return operations;
}

/** Whether only the optional part (emulate_tpu) may be missing. */
export function isComplete(spec: ExportSpec, state: LioState): boolean {
  return missingOperations(spec, { ...state, emulateTpu: "1" }).length === 0;
}

/** A backstore of our name over another device, or with another serial, is never adopted. */
export function assertAdoptable(host: string, spec: ExportSpec, { backstore }: LioState): void {
  if (backstore === undefined) return;
  const { handle, devicePath } = spec;
  const refuse = (what: string): StorageError =>
    new StorageError("precondition", `export ${devicePath} as ${spec.target} on ${host}: backstore ${handle} ${what}`, {
      details: { host },
      hint: "Look at the backstore on the host; it is not what was published. Unpublish the volume, or remove it by hand.",
    });
  if (backstore.devicePath !== "" && backstore.devicePath !== devicePath) throw refuse(`is over ${backstore.devicePath}`);
  if (backstore.serial !== "" && backstore.serial !== handle) throw refuse(`has the serial ${backstore.serial}`);
}

/** Links first, then what they pointed at, outermost last: configfs refuses any other order with EBUSY or ENOTEMPTY. */
export function removalOperations({ handle, target }: ExportKey, state: LioState): FileOperation[] {
  const tpg = tpgPath(target);
  const gone = ["ENOENT"] as const;
  const operations: FileOperation[] = [];
  if (state.tpg) operations.push({ op: "write", path: `${tpg}/enable`, content: "0", tolerate: ["ENOENT", "EINVAL"] });
  for (const { iqn, mappedLunDirectories } of state.initiators) {
    const acl = aclPath(target, iqn);
    for (const lun of mappedLunDirectories) {
      operations.push(
        { op: "unlink", path: `${acl}/${lun}/${mappedLinkName}`, tolerate: gone },
        { op: "rmdir", path: `${acl}/${lun}`, tolerate: gone },
      );
    }
    operations.push({ op: "rmdir", path: acl, tolerate: gone });
  }
  if (state.linked) operations.push({ op: "unlink", path: `${lunPath(target)}/${handle}`, tolerate: gone });
  if (state.lun) operations.push({ op: "rmdir", path: lunPath(target), tolerate: gone });
  for (const portal of state.portals) operations.push({ op: "rmdir", path: `${tpg}/np/${portal}`, tolerate: gone });
  if (state.tpg) operations.push({ op: "rmdir", path: tpg, tolerate: gone });
  if (state.target) operations.push({ op: "rmdir", path: targetPath(target), tolerate: gone });
  if (state.backstore !== undefined) {
    operations.push(
      { op: "rmdir", path: backstorePath(handle), tolerate: gone },
      // With the last backstore. A maker that had found the directory meets ENOENT then, and begins again.
      { op: "rmdir", path: hbaPath, tolerate: ["ENOENT", "ENOTEMPTY", "EBUSY"] },
    );
  }
  return operations;
}

function wantedAttributes(spec: ExportSpec): Readonly<Record<string, string>> {
  return { ...fixedAttributes, authentication: spec.authentication === false ? "0" : "1" };
}
