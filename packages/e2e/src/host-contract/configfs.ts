import { FileOperationError, type FileOperation } from "@zfsilo/command";
import { expect, it } from "vitest";
import type { CurrentLab, Lab } from "./lab.ts";

const config = "/sys/kernel/config/target";

/** What the target's configfs itself refuses, and how: the errnos that building and removing exports are written around. */
export function configfsContract(current: CurrentLab): void {
  it("refuses by the errno that the kernel gives", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec } = await lab.exported();
    const initiator = lab.world.initiatorIqn;
    await lio.ensureInitiator({ target: spec.target, initiator, chap: lab.newChap() }, o);
    const backstore = `${config}/core/iblock_0/${spec.handle}`;
    const target = `${config}/iscsi/${spec.target}`;
    const group = `${target}/tpgt_1`;
    const acl = `${group}/acls/${initiator}`;
    const write = (path: string, content: string): FileOperation => ({ op: "write", path, content });
    const mkdir = (path: string): FileOperation => ({ op: "mkdir", path });
    const rmdir = (path: string): FileOperation => ({ op: "rmdir", path });
    const link = (path: string, to: string): FileOperation => ({ op: "symlink", path, target: to });
    const cases: readonly (readonly [string, FileOperation, string])[] = [
      ["a backstore twice", mkdir(backstore), "EEXIST"],
      ["a target twice", mkdir(target), "EEXIST"],
      ["a portal twice", mkdir(`${group}/np/10.9.0.2:3260`), "EEXIST"],
      ["an ACL twice", mkdir(acl), "EEXIST"],
      ["an unknown kind of HBA", mkdir(`${config}/core/nosuch_0`), "EINVAL"],
      ["an odd portal group", mkdir(`${target}/group`), "EINVAL"],
      ["an odd LUN", mkdir(`${group}/lun/zero`), "EINVAL"],
      ["a directory among attributes", mkdir(`${group}/attrib/mine`), "EPERM"],
      ["a directory without its parent", mkdir(`${config}/core/iblock_9/x`), "ENOENT"],
      ["a file", { op: "write", path: `${group}/mine`, content: "", create: { mode: 0o644 } }, "EACCES"],
      ["an unknown attribute", write(`${group}/attrib/nosuch`, "1"), "ENOENT"],
      ["what is no number", write(`${group}/attrib/authentication`, "yes"), "EINVAL"],
      ["enabling a group twice", write(`${group}/enable`, "1"), "none"],
      ["enabling a backstore twice", write(`${backstore}/enable`, "1"), "EEXIST"],
      ["a new serial while exported", write(`${backstore}/wwn/vpd_unit_serial`, "x"), "EINVAL"],
      ["reading a control file", { op: "read", path: `${backstore}/control` }, "EACCES"],
      ["a linked backstore's end", rmdir(backstore), "EBUSY"],
      ["a mapped LUN's end", rmdir(`${group}/lun/lun_0`), "EBUSY"],
      ["a group's end with children", rmdir(group), "ENOTEMPTY"],
      ["a target's end with its group", rmdir(target), "ENOTEMPTY"],
      ["an ACL's end with a mapped LUN", rmdir(acl), "ENOTEMPTY"],
      ["a mapped LUN's end with its link", rmdir(`${acl}/lun_0`), "ENOTEMPTY"],
      ["an automatic directory's end", rmdir(`${group}/acls`), "EPERM"],
      ["a second link in a LUN", link(`${group}/lun/lun_0/again`, backstore), "EEXIST"],
      ["a link to nothing", link(`${group}/lun/lun_0/x`, `${config}/core/iblock_0/none`), "ENOENT"],
      ["a link where none belongs", link(`${group}/acls/x`, backstore), "EPERM"],
      ["an attribute's end", { op: "unlink", path: `${group}/enable` }, "EPERM"],
    ];
    const seen: [string, string][] = [];
    for (const [what, operation] of cases) seen.push([what, await errnoOf(lab, operation)]);
    expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(cases.map(([what, , errno]) => [what, errno])));
    expect(await lio.findExport(spec, o)).toMatchObject({ enabled: true, linked: true, initiators: [{ iqn: initiator, mappedLun: 0 }] });
    await lio.removeInitiator(spec.target, initiator, o);
    expect(await errnoOf(lab, rmdir(`${group}/lun/lun_0`))).toBe("ENOTEMPTY");
  });
}

async function errnoOf(lab: Lab, operation: FileOperation): Promise<string> {
  try {
    await lab.byHand.target.files([operation], lab.o);
    return "none";
  } catch (error) {
    if (error instanceof FileOperationError) return error.errno;
    throw error;
  }
}
