import { ok, warning, type HostCheck } from "./check.ts";

const remedy =
  'Put `blacklist { device { vendor "LIO-ORG" } }` into /etc/multipath.conf, then `systemctl reload multipathd` (docs/hosts.md).';

/** multipathd makes a map of a disk before it can be mounted, and the disk is busy from then on. */
export function multipathCheck(running: boolean, configuration: string): HostCheck {
  if (!running && configuration.trim() === "") return ok("multipath", "multipathd does not run");
  if (isBlacklisted(configuration)) return ok("multipath", "its blacklist leaves zfsilo's disks alone");
  const state = running ? "multipathd runs" : "multipathd does not run now";
  return warning("multipath", `${state}, and no blacklist keeps it off zfsilo's disks (vendor LIO-ORG)`, remedy);
}

/** As multipath.conf(5): a device is left out by its node, its identifier, or its vendor and product. All are expressions. */
function isBlacklisted(configuration: string): boolean {
  return sectionsOf(uncommented(configuration), "blacklist").some((blacklist) => {
    const devices = sectionsOf(blacklist, "device");
    if (devices.some((device) => every(device, "vendor", "LIO-ORG") && every(device, "product", "IBLOCK") && /\bvendor\b|\bproduct\b/.test(device))) return true;
    return some(blacklist, "devnode", "sdb") || some(blacklist, "wwid", "360014050123456789abcdef0000000000");
  });
}

/** What stands between the braces after each `name {`. */
function sectionsOf(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`(?:^|[\\s{}])${name}\\s*\\{`, "g"))].map(({ index, 0: opening }) => {
    const start = index + opening.length;
    let depth = 1;
    let end = start;
    for (; end < text.length && depth > 0; end += 1) depth += text[end] === "{" ? 1 : text[end] === "}" ? -1 : 0;
    return text.slice(start, end - (depth === 0 ? 1 : 0));
  });
}

function every(section: string, key: string, value: string): boolean {
  return expressionsOf(section, key).every((expression) => fits(expression, value));
}

function some(section: string, key: string, value: string): boolean {
  return expressionsOf(section, key).some((expression) => fits(expression, value));
}

function expressionsOf(section: string, key: string): string[] {
  return [...section.matchAll(new RegExp(`(?:^|\\s)${key}\\s+(?:"([^"]*)"|(\\S+))`, "g"))].map(([, quoted, bare]) => quoted ?? bare ?? "");
}

/** A leading `!` turns the expression round. */
function fits(expression: string, value: string): boolean {
  const turned = expression.startsWith("!");
  try {
    return new RegExp(turned ? expression.slice(1) : expression).test(value) !== turned;
  } catch {
    return false;
  }
}

function uncommented(configuration: string): string {
  return configuration.replace(/^\s*[#!].*$/gm, "").replace(/\s#.*$/gm, "");
}
