import type { FileOperation } from "@zfsilo/command";
import type { Lab } from "./lab.ts";

/** Traces of the suite on both machines, each as one line; none when every test cleaned up behind itself. */
export async function leftOver(lab: Lab): Promise<string[]> {
  const { o, zfs, lio, iscsi, mounts, parent, directory } = lab;
  const found: string[] = [];
  const note = (what: string, items: readonly string[]): void => {
    found.push(...items.map((item) => `${what} ${item}`));
  };
  note("dataset", (await zfs.listVolumes(parent, o)).map(({ dataset }) => dataset));
  note("export", (await lio.listExports(o)).map(({ handle }) => handle));
  note("session", (await iscsi.listSessions(o)).map(({ target }) => target));
  note("node record", (await iscsi.listNodeRecords(o)).map(({ target }) => target));
  note("mount", (await mounts.list(o)).map(({ target }) => target).filter((target) => target.startsWith(directory)));
  const list = (path: string): FileOperation => ({ op: "list", path, tolerate: ["ENOENT"] });
  const config = "/sys/kernel/config/target";
  const [backstores, targets] = await lab.byHand.target.files([list(`${config}/core/iblock_0`), list(`${config}/iscsi`)], o);
  // The attributes of an HBA, and the one directory the fabric makes by itself.
  note("backstore", (backstores?.entries ?? []).filter((name) => !["hba_info", "hba_mode"].includes(name)));
  note("target", (targets?.entries ?? []).filter((name) => !["discovery_auth", "lio_version", "cpus_allowed_list"].includes(name)));
  const [places] = await lab.byHand.initiator.files([list(directory)], o);
  note("path", (places?.entries ?? []).map((name) => `${directory}/${name}`));
  return found;
}
