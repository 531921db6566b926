import { createHash } from "node:crypto";
import { StorageError } from "@zfsilo/lib";

/** How ids of the control plane look: the last segment of a resource name. */
const idPattern = /^[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;

/** CSI spec, "Size Limits": a string field has 128 bytes. */
const maxNameBytes = 128;

/**
 * The id of what a CSI name asks for. Names may hold almost anything, ids only a few characters; a hash of the name gives
 * the same id for each repeated call, whichever driver process gets it, and nothing has to be remembered.
 */
export function idForName(name: string): string {
  return `csi-${createHash("sha256").update(name).digest("hex").slice(0, 40)}`;
}

/** CSI spec, "CreateVolume": any Unicode but control characters is a name. */
export function checkName(name: string): string {
  if (name === "") throw new StorageError("invalid_argument", "name: is required");
  if (Buffer.byteLength(name) > maxNameBytes) throw new StorageError("invalid_argument", `name: is longer than ${maxNameBytes} bytes`);
  if (/\p{Cc}|\p{Surrogate}/u.test(name)) throw new StorageError("invalid_argument", "name: has a control character");
  return name;
}

export const volumeName = (id: string): string => `volumes/${id}`;
export const hostName = (id: string): string => `hosts/${id}`;
export const snapshotName = (id: string): string => `snapshots/${id}`;
export const groupName = (id: string): string => `groupSnapshots/${id}`;

/** The id in a resource name: what stands behind the last slash. */
export function idOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** Whether there can be anything under this id. CSI asks for NOT_FOUND, or for success of a delete, where there is nothing. */
export function isId(id: string): boolean {
  return idPattern.test(id);
}

/** A required id. One that no resource can have is `not_found`. */
export function checkId(id: string, field: string): string {
  requireText(id, field);
  if (isId(id)) return id;
  throw new StorageError("not_found", `${field}: there is no ${JSON.stringify(id.slice(0, 128))}`);
}

export function requireText(text: string, field: string): string {
  if (text === "") throw new StorageError("invalid_argument", `${field}: is required`);
  return text;
}
