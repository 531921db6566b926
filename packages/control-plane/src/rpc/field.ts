import { isFieldSet, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import {
  invalidField,
  parseGroupSnapshotId,
  parseHostId,
  parseOperationId,
  parseSnapshotId,
  parseVolumeId,
  StorageError,
  type GroupSnapshotId,
  type HostId,
  type OperationId,
  type SnapshotId,
  type VolumeId,
} from "@zfsilo/lib";

export { checkDisplayName, checkLabels } from "../text-rules.ts";

/** `volumes/{id}`. The error names `field`. */
export function parseVolumeName(name: string, field: string): VolumeId {
  return parseName(name, field, "volumes/", parseVolumeId);
}

export function parseHostName(name: string, field: string): HostId {
  return parseName(name, field, "hosts/", parseHostId);
}

export function parseOperationName(name: string, field: string): OperationId {
  return parseName(name, field, "operations/", parseOperationId);
}

export function parseSnapshotName(name: string, field: string): SnapshotId {
  return parseName(name, field, "snapshots/", parseSnapshotId);
}

export function parseGroupSnapshotName(name: string, field: string): GroupSnapshotId {
  return parseName(name, field, "groupSnapshots/", parseGroupSnapshotId);
}

/** Refuses a message in which a field is set that only the server writes. `prefix` is what the message is called in its request. */
export function refuseOutputOnly<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  names: readonly (keyof D["field"] & string)[],
  prefix: string,
): void {
  for (const name of names) {
    const field = schema.field[name];
    if (field !== undefined && isFieldSet(message, field)) throw invalidField(`${prefix}.${field.name}`, "is output only, leave it out");
  }
}

/** Names `field` in the refusal of an id. */
export function parseResourceId<Id>(field: string, parse: () => Id): Id {
  try {
    return parse();
  } catch (error) {
    if (error instanceof StorageError) throw invalidField(field, error.message, error.hint);
    throw error;
  }
}

function parseName<Id>(name: string, field: string, prefix: string, parse: (id: string) => Id): Id {
  if (!name.startsWith(prefix)) {
    const problem = name === "" ? "is required" : `${JSON.stringify(name.slice(0, 80))} does not begin with ${prefix}`;
    throw invalidField(field, problem, `Write ${prefix}ID.`);
  }
  return parseResourceId(field, () => parse(name.slice(prefix.length)));
}
