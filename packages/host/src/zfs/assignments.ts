import { invalidField } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";

/** `NAME=VALUE` words in the order of their names. */
export function assignments(properties: Readonly<Record<string, string>>): string[] {
  return Object.keys(properties)
    .sort()
    .map((name) => `${name}=${properties[name] ?? ""}`);
}

/** zfsprops(7): a user property's value is at most 8192 bytes. Tabs and newlines would break `zfs get -H`. */
export function requireUserProperties(properties: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(properties)) {
    if (hasControlCharacter(value)) throw invalidField(name, "has a control character");
    if (value === "" || value === "-") throw invalidField(name, "is empty");
    if (Buffer.byteLength(value) > 8191) throw invalidField(name, "is longer than 8191 bytes");
  }
}
