import type { FileOperation, FileResult } from "@zfsilo/command";
import { parseVolumeHandle, type VolumeHandle } from "@zfsilo/lib";
import { filesOf, type Files } from "../file-results.ts";
import type { LioExport } from "./export.ts";
import { parseIqn, readPortal, type Iqn } from "./names.ts";
import { hbaPath, iscsiRoot } from "./paths.ts";
import { publicInitiator, readBackstore, readInitiators } from "./state.ts";

const backstore = `${hbaPath}/*`;
const tpg = `${iscsiRoot}/*/tpgt_1`;

/** Every export of the host in one batch, whose cost is one read per attribute and no command. */
export const listReads: readonly FileOperation[] = [
  `${backstore}/udev_path`,
  `${backstore}/wwn/vpd_unit_serial`,
  `${backstore}/enable`,
  `${tpg}/enable`,
  `${tpg}/attrib/generate_node_acls`,
  `${tpg}/attrib/demo_mode_write_protect`,
  `${tpg}/attrib/authentication`,
  // A portal is a directory; this attribute, which every one has, makes its name show.
  `${tpg}/np/*/iser`,
  // Read through the link to the backstore: makes the link's name show.
  `${tpg}/lun/lun_0/*/udev_path`,
  `${tpg}/acls/*/info`,
  `${tpg}/acls/*/auth/userid`,
  `${tpg}/acls/*/lun_*/write_protect`,
  `${backstore}/alias`,
].map((path) => ({ op: "read-glob", path }));

/**
 * Joins backstores and targets by the link between them, or by the handle that ends the target's name when the link is
 * missing. What has no volume handle in its name is somebody else's and left out.
 */
export function readExports(results: readonly FileResult[]): LioExport[] {
  const files = listReads.map((_, index) => filesOf(results[index]));
  const [udevPaths, serials, enables, tpgEnables, , , authentications, portals, links, infos, userids, luns, aliases] = files.map(
    (found) => groupByOwner(found),
  );
  const targets = new Map<VolumeHandle, Iqn>();
  const linked = new Set<VolumeHandle>();
  for (const name of tpgEnables?.keys() ?? []) {
    const link = links?.get(name)?.map(([path]) => segmentAfter(path, "/lun/lun_0/")) ?? [];
    const handle = handleOf(link[0]) ?? handleOf(name.slice(name.lastIndexOf(":") + 1));
    const target = iqnOf(name);
    if (handle === undefined || target === undefined) continue;
    targets.set(handle, target);
    if (link.length > 0) linked.add(handle);
  }
  const handles = new Set([...targets.keys(), ...[...(udevPaths?.keys() ?? [])].flatMap((name) => handleOf(name) ?? [])]);
  return [...handles].sort().map((handle) => {
    const target = targets.get(handle);
    const at = (group: ReadonlyMap<string, Files> | undefined): Files => (target === undefined ? [] : (group?.get(target) ?? []));
    const own = (group: ReadonlyMap<string, Files> | undefined): string | undefined => group?.get(handle)?.[0]?.[1];
    const found = readBackstore(own(udevPaths), own(serials), own(enables), own(aliases));
    const acls = [...new Set(at(infos).map(([path]) => segmentAfter(path, "/acls/")))];
    return {
      handle,
      linked: linked.has(handle),
      portals: at(portals).flatMap(([path]) => readPortal(segmentAfter(path, "/np/")) ?? []),
      enabled: at(tpgEnables)[0]?.[1].trim() === "1",
      authentication: at(authentications)[0]?.[1].trim() === "1",
      initiators: readInitiators(acls, at(infos), at(userids), at(luns)).map(publicInitiator),
      ...(target === undefined ? {} : { target }),
      ...(found === undefined ? {} : { backstore: found }),
    };
  });
}

/** By the backstore or target each path lies in: the component where the pattern's first `*` stands. */
function groupByOwner(files: Files): ReadonlyMap<string, Files> {
  const groups = new Map<string, [string, string][]>();
  for (const [path, text] of files) {
    const name = segmentAfter(path, path.startsWith(`${hbaPath}/`) ? `${hbaPath}/` : `${iscsiRoot}/`);
    const group = groups.get(name) ?? [];
    group.push([path, text]);
    groups.set(name, group);
  }
  return groups;
}

function segmentAfter(path: string, marker: string): string {
  const start = path.indexOf(marker) + marker.length;
  const end = path.indexOf("/", start);
  return path.slice(start, end === -1 ? undefined : end);
}

function handleOf(text: string | undefined): VolumeHandle | undefined {
  try {
    return text === undefined ? undefined : parseVolumeHandle(text);
  } catch {
    return undefined;
  }
}

function iqnOf(text: string): Iqn | undefined {
  try {
    return parseIqn(text);
  } catch {
    return undefined;
  }
}
