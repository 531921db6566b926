import type { Iqn } from "./names.ts";

/** The target core's directory in configfs, as systemd mounts it. */
export const targetRoot = "/sys/kernel/config/target";
export const iscsiRoot = `${targetRoot}/iscsi`;
/** One HBA holds every backstore. LIO numbers HBAs only to group devices; nothing is gained by one each. */
export const hbaPath = `${targetRoot}/core/iblock_0`;
/** The name of the link from a mapped LUN to the LUN. */
export const mappedLinkName = "lun";

export const backstorePath = (handle: string): string => `${hbaPath}/${handle}`;
export const targetPath = (target: Iqn): string => `${iscsiRoot}/${target}`;
/** How many sessions the target has, whatever ACLs they came by (iscsi_target_stat.c, kernel 6.1). */
export const sessionsPath = (target: Iqn): string => `${targetPath(target)}/fabric_statistics/iscsi_instance/sessions`;
export const tpgPath = (target: Iqn): string => `${targetPath(target)}/tpgt_1`;
export const lunPath = (target: Iqn): string => `${tpgPath(target)}/lun/lun_0`;
export const aclPath = (target: Iqn, initiator: string): string => `${tpgPath(target)}/acls/${initiator}`;

/** The TPG attributes an export is given; `authentication` differs by export. */
export const fixedAttributes = { generate_node_acls: "0", demo_mode_write_protect: "0" } as const;
