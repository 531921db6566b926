import type { Files } from "../file-results.ts";

/** Who has a block device open, and what ends that. */
export interface Holder {
  readonly what: string;
  readonly remedy: string;
}

/** What is stacked on a block device: `holders/dm-0/dev` of each, with `dm/name` and `dm/uuid` of those device-mapper made. */
export function describeStacked(stacked: Files, names: Files, uuids: Files): Holder[] {
  const dmNames = byHolder(names);
  const dmUuids = byHolder(uuids);
  return [...byHolder(stacked).keys()].map((node) => describe(node, dmNames.get(node), dmUuids.get(node) ?? ""));
}

/** The prefix of a uuid is that of the program that made it (dm-ioctl.h: "LVM-", "mpath-", "CRYPT-"). */
function describe(node: string, name: string | undefined, uuid: string): Holder {
  if (name === undefined) {
    if (/^md/.test(node)) return { what: `the RAID array ${node}`, remedy: `Stop it: \`mdadm --stop /dev/${node}\`.` };
    return { what: `the block device ${node}`, remedy: `Take ${node} down on the host.` };
  }
  if (uuid.startsWith("LVM-")) {
    return {
      what: `LVM volume ${name} (${node})`,
      remedy: `Deactivate it, \`vgchange -an ${groupOf(name)}\`, and keep LVM off these devices (docs/hosts.md).`,
    };
  }
  if (uuid.startsWith("mpath-")) {
    return { what: `multipath device ${name} (${node})`, remedy: `Flush it, \`multipath -f ${name}\`, and blacklist these devices (docs/hosts.md).` };
  }
  if (uuid.startsWith("CRYPT-")) return { what: `encrypted device ${name} (${node})`, remedy: `Close it: \`cryptsetup close ${name}\`.` };
  return { what: `device-mapper device ${name} (${node})`, remedy: `Remove it: \`dmsetup remove ${name}\`.` };
}

/** `vg--one-data`: a hyphen of a name is doubled, a single one parts group and volume (lvm(8)). */
function groupOf(name: string): string {
  return (/^(?:[^-]|--)+/.exec(name)?.[0] ?? name).replaceAll("--", "-");
}

function byHolder(files: Files): ReadonlyMap<string, string> {
  return new Map(files.map(([path, text]) => [/\/holders\/([^/]+)\//.exec(path)?.[1] ?? "", text.trim()]));
}
