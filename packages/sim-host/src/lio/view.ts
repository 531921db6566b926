import type { Machine } from "../machine.ts";
import type { BackstoreDoc, ConfigNode } from "../model.ts";

/** What the target side of a login and of every SCSI command looks up in the configfs tree. */

export interface PortalGroup {
  readonly name: string;
  readonly node: ConfigNode;
}

export function portalText(address: string, port: string): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The portal group of a target that listens at an address and port, `10.9.0.2:3260` or `[fd00::1]:3260`. */
export function groupAt(target: Machine, iqn: string, portal: string): PortalGroup | undefined {
  const groups = Object.entries(target.model.targets.get(target.at(iqn))?.children ?? {});
  const found = groups.find(([, node]) => node.children?.[`np/${portal}`] !== undefined);
  return found === undefined ? undefined : { name: found[0], node: found[1] };
}

export function groupOf(target: Machine, iqn: string, name: string): ConfigNode | undefined {
  return target.model.targets.get(target.at(iqn))?.children?.[name];
}

export function isEnabled(group: ConfigNode): boolean {
  return group.attributes?.["enable"] === "1";
}

/** An attribute of a portal group or ACL with its initial value. */
export function attributeOf(node: ConfigNode | undefined, name: string, initial: string): string {
  return node?.attributes?.[name] ?? initial;
}

export function aclOf(group: ConfigNode, initiator: string): ConfigNode | undefined {
  return group.children?.[`acls/${initiator}`];
}

/** In demo mode initiators without an ACL see every LUN. */
export function isDemoMode(group: ConfigNode): boolean {
  return attributeOf(group, "attrib/generate_node_acls", "0") === "1";
}

/** The LUN numbers an initiator sees, and those alone that have something behind them. */
export function mappedLuns(group: ConfigNode, initiator: string): readonly number[] {
  const acl = aclOf(group, initiator);
  const keys =
    acl === undefined
      ? Object.entries(group.children ?? {}).filter(([key]) => isDemoMode(group) && key.startsWith("lun/"))
      : Object.entries(acl.children ?? {});
  return keys
    .filter(([, node]) => Object.keys(node.links ?? {}).length > 0)
    .map(([key]) => Number(key.slice(key.lastIndexOf("_") + 1)))
    .sort((a, b) => a - b);
}

/** Whether the target refuses what an initiator writes to a LUN. */
export function isWriteProtected(target: Machine, iqn: string, groupName: string, initiator: string, lun: number): boolean {
  const group = groupOf(target, iqn, groupName);
  if (group === undefined) return false;
  const acl = aclOf(group, initiator);
  if (acl === undefined) return attributeOf(group, "attrib/demo_mode_write_protect", "1") === "1";
  return attributeOf(acl.children?.[`lun_${lun}`], "write_protect", "0") === "1";
}

/** The backstore that an initiator reaches at a LUN. */
export function mappedBackstore(
  target: Machine,
  iqn: string,
  groupName: string,
  initiator: string,
  lun: number,
): BackstoreDoc | undefined {
  const group = groupOf(target, iqn, groupName);
  if (group === undefined) return undefined;
  const acl = aclOf(group, initiator);
  const mapped = acl === undefined ? undefined : Object.values(acl.children?.[`lun_${lun}`]?.links ?? {})[0];
  // .../tpgt_1/lun/lun_N: which LUN of the group is shown under this number.
  const source = acl === undefined && isDemoMode(group) ? `lun_${lun}` : mapped?.slice(mapped.lastIndexOf("/") + 1);
  const path = source === undefined ? undefined : Object.values(group.children?.[`lun/${source}`]?.links ?? {})[0];
  const key = path?.slice("/sys/kernel/config/target/core/".length);
  return key === undefined ? undefined : target.model.backstores.get(target.at(key));
}
