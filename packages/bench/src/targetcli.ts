import type { CallOptions, Executor, FileOperation } from "@zfsilo/command";
import { formatPortal, type ExportSpec } from "@zfsilo/host";

const root = "/sys/kernel/config/target";
/** 44 s with 100 targets on an emulated machine with nothing else to do. */
const limitMs = 600_000;

/** Makes the export as a person with targetcli does, in one session of it. */
export async function publishWithTargetcli(give: Executor, spec: ExportSpec, o: CallOptions): Promise<void> {
  const tpg = `/iscsi/${spec.target}/tpg1`;
  const stdin = [
    "set global auto_add_default_portal=false",
    `/backstores/block create name=${spec.handle} dev=${spec.devicePath}`,
    `/iscsi create ${spec.target}`,
    `${tpg} set attribute generate_node_acls=0 demo_mode_write_protect=0 authentication=1`,
    `${tpg}/luns create /backstores/block/${spec.handle}`,
    ...spec.portals.map(({ address, port }) => `${tpg}/portals create ${address} ${port}`),
    "exit",
    "",
  ].join("\n");
  const { exitCode, stdout, stderr } = await give.run(["targetcli"], { ...o, stdin, timeoutMs: limitMs });
  // It exits 0 whatever happened: what counts is what is there.
  const configfs = `${root}/iscsi/${spec.target}/tpgt_1`;
  const [enabled, ...rest] = await give.files(
    [
      { op: "read", path: `${configfs}/enable`, tolerate: ["ENOENT"] },
      { op: "list", path: `${configfs}/lun`, tolerate: ["ENOENT"] },
      { op: "list", path: `${configfs}/np`, tolerate: ["ENOENT"] },
    ],
    o,
  );
  const [luns, portals] = rest.map(({ entries = [] }) => entries);
  if (enabled?.text?.trim() === "1" && luns?.includes("lun_0") === true && portals?.includes(spec.portals.map(formatPortal)[0] ?? "") === true) return;
  throw new Error(`targetcli made no whole export (exit ${exitCode}): ${stdout}\n${stderr}`);
}

/** Takes down what it made, without it: it would take as long again. */
export async function removeTargetcliExport(give: Executor, { target, handle }: ExportSpec, o: CallOptions): Promise<void> {
  const script = `cd ${root}; tpg=iscsi/$1/tpgt_1; echo 0 >$tpg/enable
    find $tpg/lun -type l -delete; rmdir $tpg/lun/lun_* $tpg/np/* $tpg iscsi/$1 && rmdir core/iblock_*/$2`;
  const { exitCode, stderr } = await give.run(["bash", "-c", script, "bash", target, handle], o);
  if (exitCode !== 0) throw new Error(`remove ${target}: ${stderr}`);
}

/** Targets over a few pages of memory each: what is measured beside them only cares that they are there. */
export function ramTargets(count: number, portal: string): FileOperation[] {
  const hba = `${root}/core/rd_mcp_77`;
  const made = Array.from({ length: count }, (_, index): FileOperation[] => {
    const backstore = `${hba}/bench${index}`;
    const target = `${root}/iscsi/iqn.2026-01.io.zfsilo.bench:ram${index}`;
    const tpg = `${target}/tpgt_1`;
    return [
      { op: "mkdir", path: backstore },
      { op: "write", path: `${backstore}/control`, content: "rd_pages=8" },
      { op: "write", path: `${backstore}/enable`, content: "1" },
      { op: "mkdir", path: target },
      { op: "mkdir", path: tpg },
      { op: "mkdir", path: `${tpg}/lun/lun_0` },
      { op: "symlink", path: `${tpg}/lun/lun_0/backstore`, target: backstore },
      { op: "mkdir", path: `${tpg}/np/${portal}` },
      { op: "write", path: `${tpg}/enable`, content: "1" },
    ];
  });
  return [{ op: "mkdir", path: hba, tolerate: ["EEXIST"] }, ...made.flat()];
}
