import type { FileOperation, FileResult } from "@zfsilo/command";
import { entriesOf, filesOf, textOf, type Files } from "../file-results.ts";
import type { Backstore, ExportKey, LioExport, LioInitiator } from "./export.ts";
import { generationPath, readGeneration } from "./generation.ts";
import { readPortal } from "./names.ts";
import { backstorePath, iscsiRoot, lunPath, targetPath, tpgPath } from "./paths.ts";

/** One export with the details that building and removing need. */
export interface LioState {
  /** The iscsi fabric, the target and its TPG exist. The fabric is told by a file it always has: listing it would grow with the targets. */
  readonly fabric: boolean;
  readonly target: boolean;
  readonly tpg: boolean;
  readonly lun: boolean;
  readonly linked: boolean;
  readonly backstore?: Backstore;
  readonly emulateTpu?: string;
  /** As configfs spells them: `10.9.0.2:3260`. */
  readonly portals: readonly string[];
  readonly enabled: boolean;
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly initiators: readonly InitiatorState[];
}

export interface InitiatorState extends LioInitiator {
  /** `lun_N` directories of the ACL, linked or not. */
  readonly mappedLunDirectories: readonly string[];
}

const absent = { tolerate: ["ENOENT"] } as const;

export function stateReads({ handle, target }: ExportKey): FileOperation[] {
  const backstore = backstorePath(handle);
  const tpg = tpgPath(target);
  return [
    { op: "read", path: `${backstore}/udev_path`, ...absent },
    { op: "read", path: `${backstore}/wwn/vpd_unit_serial`, ...absent },
    { op: "read", path: `${backstore}/enable`, ...absent },
    { op: "read", path: `${backstore}/attrib/emulate_tpu`, ...absent },
    { op: "readlink", path: `${lunPath(target)}/${handle}`, ...absent },
    { op: "read", path: `${iscsiRoot}/lio_version`, ...absent },
    { op: "list", path: targetPath(target), ...absent },
    { op: "list", path: `${tpg}/lun`, ...absent },
    { op: "list", path: `${tpg}/np`, ...absent },
    { op: "read", path: `${tpg}/enable`, ...absent },
    { op: "read", path: `${tpg}/attrib/generate_node_acls`, ...absent },
    { op: "read", path: `${tpg}/attrib/demo_mode_write_protect`, ...absent },
    { op: "read", path: `${tpg}/attrib/authentication`, ...absent },
    { op: "list", path: `${tpg}/acls`, ...absent },
    { op: "read-glob", path: `${tpg}/acls/*/info` },
    { op: "read-glob", path: `${tpg}/acls/*/auth/userid` },
    { op: "read-glob", path: `${tpg}/acls/*/lun_*/write_protect` },
    { op: "read", path: generationPath(handle), ...absent },
  ];
}

/** Reads the results of stateReads, given as they came at the end of a batch. */
export function readState(key: ExportKey, results: readonly FileResult[]): LioState {
  const r = results.slice(-stateReads(key).length);
  const backstore = readBackstore(textOf(r[0]), textOf(r[1]), textOf(r[2]), textOf(r[17]));
  const emulateTpu = textOf(r[3])?.trim();
  const enable = textOf(r[9])?.trim();
  const names = entriesOf(r[13]) ?? [];
  return {
    linked: textOf(r[4]) !== undefined,
    fabric: textOf(r[5]) !== undefined,
    target: entriesOf(r[6]) !== undefined,
    lun: entriesOf(r[7])?.includes("lun_0") ?? false,
    portals: entriesOf(r[8]) ?? [],
    tpg: enable !== undefined,
    enabled: enable === "1",
    attributes: {
      generate_node_acls: textOf(r[10])?.trim(),
      demo_mode_write_protect: textOf(r[11])?.trim(),
      authentication: textOf(r[12])?.trim(),
    },
    initiators: readInitiators(names, filesOf(r[14]), filesOf(r[15]), filesOf(r[16])),
    ...(backstore === undefined ? {} : { backstore }),
    ...(emulateTpu === undefined ? {} : { emulateTpu }),
  };
}

export function exportOf({ handle, target }: ExportKey, state: LioState): LioExport | undefined {
  if (state.backstore === undefined && !state.target) return undefined;
  return {
    handle,
    linked: state.linked,
    portals: state.portals.flatMap((text) => readPortal(text) ?? []),
    enabled: state.enabled,
    authentication: state.attributes["authentication"] === "1",
    initiators: state.initiators.map(publicInitiator),
    ...(state.target ? { target } : {}),
    ...(state.backstore === undefined ? {} : { backstore: state.backstore }),
  };
}

export function publicInitiator({ iqn, mappedLun, writeProtected, session, userid }: InitiatorState): LioInitiator {
  return {
    iqn,
    session,
    ...(mappedLun === undefined ? {} : { mappedLun }),
    ...(writeProtected === undefined ? {} : { writeProtected }),
    ...(userid === undefined ? {} : { userid }),
  };
}

export function readBackstore(
  udevPath: string | undefined,
  serial: string | undefined,
  enable: string | undefined,
  alias?: string,
): Backstore | undefined {
  if (udevPath === undefined || serial === undefined || enable === undefined) return undefined;
  const generation = readGeneration(alias);
  return {
    devicePath: udevPath.trim(),
    serial: readSerial(serial),
    enabled: enable.trim() === "1",
    ...(generation === undefined ? {} : { generation }),
  };
}

/** `T10 VPD Unit Serial Number: 0123456789abcdef` (kernel 6.1, target_core_configfs.c); nothing after the colon when unset. */
function readSerial(text: string): string {
  return text.slice(text.indexOf(":") + 1).trim();
}

export function readInitiators(
  names: readonly string[],
  infos: Files,
  userids: Files,
  writeProtects: Files,
): InitiatorState[] {
  const info = new Map(infos.map(([path, text]) => [aclOf(path), text]));
  const userid = new Map(userids.map(([path, text]) => [aclOf(path), text.trim()]));
  return names.map((iqn) => {
    const luns = writeProtects.filter(([path]) => aclOf(path) === iqn);
    // The attribute prints nothing while no LUN is linked (target_core_fabric_configfs.c, mappedlun_write_protect_show).
    const linked = luns.find(([, text]) => text.trim() !== "");
    const user = userid.get(iqn) ?? "";
    return {
      iqn,
      session: (info.get(iqn) ?? "No active").startsWith("No active") ? "none" : "active",
      mappedLunDirectories: luns.map(([path]) => lunDirectoryOf(path)),
      ...(linked === undefined
        ? {}
        : { mappedLun: Number(lunDirectoryOf(linked[0]).slice("lun_".length)), writeProtected: linked[1].trim() === "1" }),
      // Writing NULL is how LIO is told to forget a user id; it keeps and prints the word.
      ...(user === "" || user === "NULL" ? {} : { userid: user }),
    };
  });
}

/** .../acls/INITIATOR/... */
function aclOf(path: string): string {
  return /\/acls\/([^/]+)\//.exec(path)?.[1] ?? "";
}

function lunDirectoryOf(path: string): string {
  return /\/(lun_\d+)\/write_protect$/.exec(path)?.[1] ?? "";
}
