import type { FileOperation, FileResult } from "@zfsilo/command";
import { entriesOf, filesOf, textOf } from "../file-results.ts";
import type { Iqn } from "./names.ts";
import { aclPath, mappedLinkName, sessionsPath, tpgPath } from "./paths.ts";

/** What is seen of a target after an initiator was shut out. */
export interface FenceState {
  /** It has an ACL: it could log in. */
  readonly admitted: boolean;
  readonly enabled: boolean;
  /** More sessions than the ACLs that are left account for: one of them is that of an initiator without access. */
  readonly lingering: boolean;
}

/**
 * Closes the TPG, takes the access away, counts sessions and opens the TPG. Closing ends every session of the target; in between
 * nobody can log in, so the count in the middle must be 0.
 */
export function fenceOperations(target: Iqn, initiator: Iqn, mark: readonly FileOperation[] = []): FileOperation[] {
  const acl = aclPath(target, initiator);
  const gone = ["ENOENT"];
  return [
    { op: "list", path: acl },
    ...mark,
    { op: "write", path: `${tpgPath(target)}/enable`, content: "0", tolerate: ["EINVAL"] },
    { op: "unlink", path: `${acl}/lun_0/${mappedLinkName}`, tolerate: gone },
    { op: "rmdir", path: `${acl}/lun_0`, tolerate: gone },
    { op: "rmdir", path: acl, tolerate: gone },
    { op: "read", path: sessionsPath(target), tolerate: gone },
    reopening(target),
    ...fenceReads(target),
  ];
}

export function reopening(target: Iqn): FileOperation {
  return { op: "write", path: `${tpgPath(target)}/enable`, content: "1", tolerate: ["EINVAL"] };
}

/** Sessions first: one that logs in while this is read then counts as accounted for, and not the other way round. */
export function fenceReads(target: Iqn): FileOperation[] {
  const tpg = tpgPath(target);
  const absent = { tolerate: ["ENOENT"] } as const;
  return [
    { op: "read", path: sessionsPath(target), ...absent },
    { op: "list", path: `${tpg}/acls`, ...absent },
    { op: "read-glob", path: `${tpg}/acls/*/info` },
    { op: "read", path: `${tpg}/enable`, ...absent },
  ];
}

/** Reads the results of fenceReads, given as they came at the end of a batch. */
export function readFence(initiator: Iqn, results: readonly FileResult[]): FenceState {
  const [sessions, acls, infos, enable] = results.slice(-4);
  const active = filesOf(infos).filter(([, info]) => !info.startsWith("No active")).length;
  return {
    admitted: entriesOf(acls)?.includes(initiator) === true,
    enabled: textOf(enable)?.trim() !== "0",
    lingering: countOf(sessions) > active,
  };
}

/** Whether fenceOperations counted no session while the TPG was closed. */
export function endedAll(operations: readonly FileOperation[], target: Iqn, results: readonly FileResult[]): boolean {
  const index = operations.findIndex(({ op, path }) => op === "read" && path === sessionsPath(target));
  return countOf(results[index]) === 0;
}

/** A target that is gone has none. */
function countOf(result: FileResult | undefined): number {
  return Number(textOf(result)?.trim() ?? "0");
}
