import { ToolFailure } from "../program.ts";
import { canonicalName, isUserProperty, ruleOf, type DatasetKind } from "./properties.ts";
import { parseSize } from "./size.ts";

/** Longest value of a user property (ZFS_MAXPROPLEN less its end mark). */
const longestValue = 8191;

/**
 * Checks `NAME=VALUE` words for a dataset of `kind` and gives them as they are stored. `subject` begins each message:
 * `cannot create 'tank/z1'` or `cannot set property for 'tank/z1'`. User properties with an empty value are kept: they are set.
 */
export function parseSettings(
  words: readonly string[],
  kind: "filesystem" | "volume",
  subject: string,
  creating: boolean,
): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const word of words) {
    const cut = word.indexOf("=");
    if (cut < 1) throw new ToolFailure(2, `missing '=' for property=value argument`);
    const name = canonicalName(word.slice(0, cut));
    if (name in settings) throw new ToolFailure(2, `property '${name}' specified multiple times`);
    settings[name] = checkValue(name, word.slice(cut + 1), kind, subject, creating);
  }
  return settings;
}

function checkValue(name: string, value: string, kind: DatasetKind, subject: string, creating: boolean): string {
  const refuse = (why: string): never => {
    throw new ToolFailure(1, `${subject}: ${why}`);
  };
  if (isUserProperty(name)) {
    if (Buffer.byteLength(value) > longestValue) refuse(`property value '${value}' is too long`);
    return value;
  }
  const rule = ruleOf(name);
  if (rule === undefined) return refuse(`invalid property '${name}'`);
  if (!rule.on.includes(kind)) return refuse(`'${name}' does not apply to datasets of this type`);
  if (rule.access === "computed" || (rule.access === "creation" && !creating)) return refuse(`'${name}' is readonly`);
  if (rule.values !== undefined && !rule.values.includes(value)) {
    return refuse(`'${name}' must be one of '${rule.shownValues ?? rule.values.join(" | ")}'`);
  }
  if (rule.numeric === true) return checkNumber(name, value, refuse);
  if (name === "mountpoint" && !/^(none|legacy|\/.*)$/.test(value)) {
    return refuse(`'mountpoint' must be an absolute path, 'none', or 'legacy'`);
  }
  return value;
}

function checkNumber(name: string, text: string, refuse: (why: string) => never): string {
  // The caller knows the size it stands for.
  if (text === "auto" && name === "refreservation") return text;
  const value = text === "none" ? 0n : parseSize(text);
  if (value === undefined) return refuse(`'${name}' must be a number`);
  if (name === "volblocksize" && (value < 512n || value > 1_048_576n || (value & (value - 1n)) !== 0n)) {
    return refuse(`'volblocksize' must be power of 2 from 512B to 1M`);
  }
  return value.toString();
}
