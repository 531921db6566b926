import { assertNever } from "@zfsilo/lib";
import { errnoName, errnoNumber } from "./errno.ts";
import type { Errno, FileOperation, FileResult } from "./executor.ts";
import { defaultDirectoryMode, defaultMaxBytes } from "./file-operations.ts";

/**
 * Request: `ID OPERATION OPERATION...\n`, an operation being comma-separated fields: its name, the errnos it tolerates
 * joined by ":", its arguments. Answer: `ID RESULT RESULT...\n`, a result being `+` and comma-separated fields, `~ERRNO`
 * when tolerated, or `!ERRNO`, which is the last. Fields are percent-encoded bytes, so none holds a separator.
 */
export function encodeBatch(id: number, operations: readonly FileOperation[]): string {
  return `${[String(id), ...operations.map(encodeOperation)].join(" ")}\n`;
}

export type BatchAnswer =
  | { readonly ok: true; readonly results: readonly FileResult[] }
  | { readonly ok: false; readonly index: number; readonly errno: Errno };

/** Reads the answer line (without its newline) to a batch. Throws on one that does not fit it. */
export function decodeAnswer(id: number, operations: readonly FileOperation[], line: string): BatchAnswer {
  const [answered, ...answers] = line.split(" ");
  if (answered !== String(id)) throw unexpected(line);
  const results: FileResult[] = [];
  for (const [index, answer] of answers.entries()) {
    const operation = operations[index];
    if (operation === undefined) throw unexpected(line);
    const kind = answer.charAt(0);
    if (kind === "!") return { ok: false, index, errno: errnoName(errnoField(answer)) };
    if (kind === "~") results.push({ errno: errnoName(errnoField(answer)) });
    else if (kind === "+") results.push(decodeResult(operation, answer.split(",").slice(1).map(decodeField), line));
    else throw unexpected(line);
  }
  if (results.length !== operations.length) throw unexpected(line);
  return { ok: true, results };
}

function encodeOperation(operation: FileOperation): string {
  const tolerated = (operation.tolerate ?? []).map((name) => String(errnoNumber(name))).join(":");
  return [operation.op, tolerated, operation.path, ...argumentsOf(operation)].map(encodeField).join(",");
}

function argumentsOf(operation: FileOperation): string[] {
  switch (operation.op) {
    case "mkdir":
      return [String(operation.mode ?? defaultDirectoryMode)];
    case "rmdir":
    case "unlink":
    case "readlink":
    case "list":
      return [];
    case "symlink":
      return [operation.target];
    case "read":
      return [String(operation.maxBytes ?? defaultMaxBytes)];
    case "read-glob":
      return [String(defaultMaxBytes)];
    case "write":
      return [operation.content, operation.create === undefined ? "" : String(operation.create.mode)];
    default:
      return assertNever(operation);
  }
}

function decodeResult(operation: FileOperation, fields: readonly string[], line: string): FileResult {
  switch (operation.op) {
    case "mkdir":
    case "rmdir":
    case "unlink":
    case "symlink":
    case "write":
      return {};
    case "readlink":
    case "read": {
      const [text] = fields;
      if (text === undefined) throw unexpected(line);
      return { text };
    }
    case "list":
      return { entries: fields };
    case "read-glob":
      return { files: pairs(fields) };
    default:
      return assertNever(operation);
  }
}

function pairs(fields: readonly string[]): [string, string][] {
  const result: [string, string][] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) result.push([fields[at] ?? "", fields[at + 1] ?? ""]);
  return result;
}

const hex = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).padStart(2, "0")}`);

export function encodeField(text: string): string {
  const bytes = Buffer.from(text, "utf8").toString("latin1");
  return bytes.replace(/[^A-Za-z0-9_./:-]/g, (byte) => hex[byte.charCodeAt(0)] ?? "");
}

export function decodeField(field: string): string {
  const bytes = field.replace(/%([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function errnoField(answer: string): number {
  const number = Number(answer.slice(1));
  if (!Number.isInteger(number)) throw unexpected(answer);
  return number;
}

/** Shows only the start of the line, which is the number of the batch: file content may be a secret. */
function unexpected(line: string): Error {
  return new Error(`unexpected answer of ${line.length} characters, starting ${JSON.stringify(line.slice(0, 8))}`);
}
