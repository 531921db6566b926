import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FileOperationSchema, FileResultSchema, type FileOperation as OperationMessage, type FileResult as ResultMessage } from "@zfsilo/api";
import { assertNever, StorageError } from "@zfsilo/lib";
import type { FileOperation, FileResult } from "./executor.ts";
import { defaultDirectoryMode, defaultMaxBytes } from "./file-operations.ts";

/** File operations and their results as an agent's stream carries them. Both ends use these. */

export function fileOperationToMessage(operation: FileOperation): OperationMessage {
  return create(FileOperationSchema, {
    path: operation.path,
    tolerate: [...(operation.tolerate ?? [])],
    operation: kindToMessage(operation),
  });
}

function kindToMessage(operation: FileOperation): NonNullable<MessageInitShape<typeof FileOperationSchema>["operation"]> {
  switch (operation.op) {
    case "mkdir":
      return { case: "makeDirectory", value: { mode: operation.mode ?? defaultDirectoryMode } };
    case "rmdir":
      return { case: "removeDirectory", value: {} };
    case "unlink":
      return { case: "unlink", value: {} };
    case "symlink":
      return { case: "makeSymlink", value: { target: operation.target } };
    case "readlink":
      return { case: "readLink", value: {} };
    case "read":
      return { case: "readFile", value: { maxBytes: BigInt(operation.maxBytes ?? defaultMaxBytes) } };
    case "read-glob":
      return { case: "readGlob", value: {} };
    case "list":
      return { case: "listDirectory", value: {} };
    case "write":
      return {
        case: "writeFile",
        value: {
          content: operation.content,
          secret: operation.secret === true,
          ...(operation.create === undefined ? {} : { createMode: operation.create.mode }),
        },
      };
    default:
      return assertNever(operation);
  }
}

/** Throws invalid_argument for an operation that a newer control plane knows. */
export function fileOperationFromMessage({ path, tolerate, operation }: OperationMessage): FileOperation {
  const common = { path, ...(tolerate.length === 0 ? {} : { tolerate }) };
  switch (operation.case) {
    case "makeDirectory":
      return { ...common, op: "mkdir", mode: operation.value.mode };
    case "removeDirectory":
      return { ...common, op: "rmdir" };
    case "unlink":
      return { ...common, op: "unlink" };
    case "makeSymlink":
      return { ...common, op: "symlink", target: operation.value.target };
    case "readLink":
      return { ...common, op: "readlink" };
    case "readFile":
      return { ...common, op: "read", maxBytes: Number(operation.value.maxBytes) };
    case "readGlob":
      return { ...common, op: "read-glob" };
    case "listDirectory":
      return { ...common, op: "list" };
    case "writeFile": {
      const { content, secret, createMode } = operation.value;
      return { ...common, op: "write", content, ...(secret && { secret }), ...(createMode !== undefined && { create: { mode: createMode } }) };
    }
    case undefined:
      throw new StorageError("invalid_argument", `the operation on ${path} is of a kind that is not known here`, {
        hint: "Bring the agent up to the version of the control plane.",
      });
    default:
      return assertNever(operation);
  }
}

export function fileResultToMessage({ errno, text, files, entries }: FileResult): ResultMessage {
  return create(FileResultSchema, {
    ...(errno !== undefined && { errno }),
    ...(text !== undefined && { text }),
    ...(files !== undefined && { files: files.map(([path, content]) => ({ path, content })) }),
    ...(entries !== undefined && { entries: [...entries] }),
  });
}

/** What is in a result follows from the operation: an empty list and an absent one look the same in a message. */
export function fileResultFromMessage({ op }: FileOperation, { errno, text, files, entries }: ResultMessage): FileResult {
  if (errno !== "") return { errno };
  switch (op) {
    case "mkdir":
    case "rmdir":
    case "unlink":
    case "symlink":
    case "write":
      return {};
    case "readlink":
    case "read":
      return { text };
    case "list":
      return { entries };
    case "read-glob":
      return { files: files.map(({ path, content }) => [path, content] as const) };
    default:
      return assertNever(op);
  }
}
