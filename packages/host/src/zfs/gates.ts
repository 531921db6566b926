import type { Argv, SequencedCommand } from "@zfsilo/command";
import type { Bytes } from "@zfsilo/lib";
import type { DatasetName } from "./names.ts";
import { datasetOf, type SnapshotName } from "./snapshot-name.ts";

/** A volume of ours as the record has it: each of these must still be so for the next command of a sequence to run. */
export interface KnownVolume {
  readonly volume: string;
  readonly cluster: string;
  readonly guid: string;
}

export interface KnownSize extends KnownVolume {
  readonly sizeBytes: Bytes;
  readonly encrypted: boolean;
}

export interface KnownSnapshot {
  readonly snapshot: string;
  readonly cluster: string;
  readonly guid: string;
}

// One `zfs get` that must answer exactly this, judged on the host in the exec that goes on to change something: the check
// and what it allows are as close together as zfs lets them be. zfs prints the properties in the order they are asked for.

/** Passes when the dataset is the volume, by guid and marks set on itself. */
export function volumeGate(dataset: DatasetName, known: KnownVolume): SequencedCommand {
  return gate(dataset, marksOf(known));
}

/** Passes when it has the size besides, and its key is loaded if it has one. */
export function sizeGate(dataset: DatasetName, { sizeBytes, encrypted, ...known }: KnownSize): SequencedCommand {
  return gate(dataset, [...marksOf(known), ["volsize", sizeBytes.toString(), "local"], ["keystatus", encrypted ? "available" : "-", "-"]]);
}

/** Passes when it is the snapshot, on a volume of ours, and is not destroyed already. */
export function snapshotGate(name: SnapshotName, { snapshot, cluster, guid }: KnownSnapshot): SequencedCommand {
  return gate(name, [
    ["type", "snapshot", "-"],
    ["guid", guid, "-"],
    ["defer_destroy", "off", "-"],
    ["zfsilo:cluster", cluster, `inherited from ${datasetOf(name)}`],
    ["zfsilo:snapshot", snapshot, "local"],
  ]);
}

type Line = readonly [property: string, value: string, source: string];

function marksOf({ volume, cluster, guid }: KnownVolume): readonly Line[] {
  return [
    ["type", "volume", "-"],
    ["guid", guid, "-"],
    ["zfsilo:volume", volume, "local"],
    ["zfsilo:cluster", cluster, "local"],
  ];
}

function gate(name: string, lines: readonly Line[]): SequencedCommand {
  const argv: Argv = ["zfs", "get", "-Hp", "-o", "property,value,source", lines.map(([property]) => property).join(","), name];
  return { argv, gate: { equals: lines.map((line) => `${line.join("\t")}\n`).join("") } };
}
