import { findFreeze } from "./files/freeze.ts";
import { allMounts } from "./files/mounts.ts";
import { liveSession } from "./iscsi/nexus.ts";
import { sessionIds } from "./iscsi/session.ts";
import type { Machine } from "./machine.ts";
import type { ConfigNode, DatasetDoc } from "./model.ts";
import { descendants, findDataset, keyIsLoaded, snapshotKey, snapshotsOf } from "./zfs/datasets.ts";
import { available } from "./zfs/space.ts";

/** Plain JSON, the same for two machines that nobody outside could tell apart. */
export type Picture = null | string | number | boolean | readonly Picture[] | { readonly [key: string]: Picture };

/**
 * What a machine looks like from outside: datasets with their properties and content, the target tree, sessions, mounts and
 * files. Left out is what differs after the same work done twice (ids, times, device numbers), and what stays by design once
 * it was needed: loaded modules, an HBA without backstores, the empty iscsi directory.
 */
export function picture(machine: Machine): Picture {
  return {
    pools: pools(machine),
    backstores: backstores(machine),
    targets: targets(machine),
    sessions: sessions(machine),
    mounts: mounts(machine),
    files: fileTree(machine, machine.rootContent),
  };
}

function sorted(entries: Iterable<readonly [string, Picture]>): Picture {
  return Object.fromEntries([...entries].sort((a, b) => (a[0] < b[0] ? -1 : 1)));
}

function pools(machine: Machine): Picture {
  const { model } = machine;
  return sorted(
    model.pools.children(machine.name).map((pool) => {
      const names = [pool, ...descendants(machine, pool)];
      const datasets = names.map((name): [string, Picture] => [name, dataset(machine, name)]);
      return [pool, { available: available(model, machine.at(pool)).toString(), datasets: sorted(datasets) }];
    }),
  );
}

function dataset(machine: Machine, name: string): Picture {
  const found = findDataset(machine, name);
  if (found === undefined) return null;
  return {
    type: found.type,
    properties: sorted(Object.entries(found.props)),
    origin: found.origin ?? null,
    ...(found.encryption !== undefined && { locked: !keyIsLoaded(machine, found.encryption) }),
    link: found.type === "volume" ? found.link === "present" : null,
    content: content(machine, found),
    snapshots: sorted(
      snapshotsOf(machine, name).map((tag) => {
        const snapshot = machine.model.snapshots.get(snapshotKey(machine, `${name}@${tag}`));
        return [tag, { properties: sorted(Object.entries(snapshot?.props ?? {})), holds: Object.keys(snapshot?.holds ?? {}) }];
      }),
    ),
  };
}

function content(machine: Machine, found: DatasetDoc): Picture {
  const { model } = machine;
  const id = found.content;
  if (id === undefined) return null;
  const fs = model.contents.get(id)?.fs;
  return {
    filesystem: fs === undefined ? null : { type: fs.type, uuid: fs.uuid, size: fs.size, used: fs.used, mounted: fs.writers > 0 },
    files: fileTree(machine, id),
    blocks: sorted(model.blocks.children(id).map((index) => [index, model.blocks.get(`${id}/${index}`)?.data ?? ""])),
  };
}

function fileTree(machine: Machine, id: string): Picture {
  const { files } = machine.model;
  const entries: [string, Picture][] = [];
  const visit = (key: string): void => {
    const file = files.get(key);
    if (file !== undefined) entries.push([key.slice(id.length), { kind: file.kind, mode: file.mode.toString(8), text: file.text }]);
    for (const name of files.children(key)) visit(`${key}/${name}`);
  };
  visit(id);
  return sorted(entries);
}

function node(document: ConfigNode): Picture {
  return {
    attributes: sorted(Object.entries(document.attributes ?? {})),
    links: sorted(Object.entries(document.links ?? {})),
    children: sorted(Object.entries(document.children ?? {}).map(([name, child]) => [name, node(child)])),
  };
}

function backstores(machine: Machine): Picture {
  const { hbas, backstores: table } = machine.model;
  return sorted(
    hbas.children(machine.name).flatMap((hba) =>
      table.children(machine.at(hba)).map((name): [string, Picture] => {
        const found = table.get(machine.at(`${hba}/${name}`));
        return [`${hba}/${name}`, { enabled: found?.enabled ?? false, ...(node(found ?? {}) as object) }];
      }),
    ),
  );
}

function targets(machine: Machine): Picture {
  const table = machine.model.targets;
  return sorted(table.children(machine.name).map((iqn) => [iqn, node(table.get(machine.at(iqn)) ?? {})]));
}

function sessions(machine: Machine): Picture {
  const lines = sessionIds(machine).flatMap((sid) => {
    const session = liveSession(machine, sid);
    if (session === undefined) return [];
    const disks = Object.entries(session.disks).map(([lun, name]) => {
      const disk = machine.model.devices.get(machine.at(name));
      return `lun ${lun} ${disk?.kind === "disk" ? `${disk.serial} ${disk.size}` : "gone"}`;
    });
    return [[session.initiator, session.target, `${session.address}:${session.port}`, session.state, ...disks].join(" ")];
  });
  return lines.sort();
}

function mounts(machine: Machine): Picture {
  return allMounts(machine).map(({ at, root, fstype, device, content, readOnly, failed }) => ({
    at,
    root: device === undefined || root !== `/${device}` ? root : "/device",
    type: fstype,
    device: device !== undefined,
    readOnly,
    failed,
    frozen: content !== undefined && findFreeze(machine, content) !== undefined,
  }));
}
