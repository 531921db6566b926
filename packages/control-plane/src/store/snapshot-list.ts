import type { ListOf } from "./query/list-query.ts";

/** What ListSnapshots can filter by and order by. */
const snapshots: Omit<ListOf, "kind" | "always"> = {
  table: "snapshots",
  fields: {
    name: { type: "resource", column: "id", prefix: "snapshots/" },
    volume: { type: "resource", column: "volume_id", prefix: "volumes/" },
    display_name: { type: "string", column: "display_name" },
    labels: { type: "labels", column: "labels" },
    host: { type: "resource", column: "host_id", prefix: "hosts/" },
    capacity_bytes: { type: "int64", column: "capacity" },
    group_snapshot: { type: "resource", column: "group_id", prefix: "groupSnapshots/" },
    create_time: { type: "timestamp", column: "created_at" },
  },
  orders: { name: "id", create_time: "created_at", capacity_bytes: "capacity" },
  defaultOrder: "name",
};

export const readySnapshots: ListOf = { ...snapshots, kind: "snapshots", always: "state = 'ready'" };
/** A list of its own: a page token of one is refused by the other. */
export const allSnapshots: ListOf = { ...snapshots, kind: "snapshots with tombstones", always: "state <> 'creating'" };

/** What ListGroupSnapshots can filter by and order by. */
export const groupSnapshots: ListOf = {
  kind: "groupSnapshots",
  table: "group_snapshots",
  always: "state <> 'creating'",
  fields: {
    name: { type: "resource", column: "id", prefix: "groupSnapshots/" },
    display_name: { type: "string", column: "display_name" },
    labels: { type: "labels", column: "labels" },
    host: { type: "resource", column: "host_id", prefix: "hosts/" },
    create_time: { type: "timestamp", column: "created_at" },
  },
  orders: { name: "id", create_time: "created_at" },
  defaultOrder: "name",
};
