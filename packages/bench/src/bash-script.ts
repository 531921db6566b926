import { quoteArgument, type FileOperation } from "@zfsilo/command";
import { BugError } from "@zfsilo/lib";

/**
 * The operations that change something as a person would write them for bash: a builtin where there is one. What reads
 * back is left out, to the script's advantage.
 */
export function bashScript(operations: readonly FileOperation[]): string {
  return `set -e\n${operations.flatMap(lineOf).join("\n")}\n`;
}

function lineOf(operation: FileOperation): string[] {
  const { op, path, tolerate = [] } = operation;
  const at = quoteArgument(path);
  const otherwise = tolerate.length > 0 ? " 2>/dev/null || :" : "";
  switch (op) {
    case "mkdir":
      return [`mkdir ${tolerate.includes("EEXIST") ? "-p " : ""}${at}`];
    case "write":
      return [`printf %s ${quoteArgument(operation.content)} >${at}${otherwise}`];
    case "symlink":
      return [`ln -s ${quoteArgument(operation.target)} ${at}${otherwise}`];
    case "read":
    case "read-glob":
    case "list":
    case "readlink":
      return [];
    case "rmdir":
    case "unlink":
      throw new BugError(`an export is made without ${op} ${path}`);
  }
}
