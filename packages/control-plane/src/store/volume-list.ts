import type { ListOf } from "./query/list-query.ts";

/** What ListVolumes can filter by and order by. */
export const volumeList: ListOf = {
  kind: "volumes",
  table: "volumes",
  // Rows being created are evidence for recovery, not volumes yet. Written as an inequality so that no index serves it: the
  // planner would choose the one on the status and sort the whole table for each page.
  always: "state <> 'creating'",
  fields: {
    name: { type: "resource", column: "id", prefix: "volumes/" },
    display_name: { type: "string", column: "display_name" },
    labels: { type: "labels", column: "labels" },
    host: { type: "resource", column: "host_id", prefix: "hosts/" },
    pool: { type: "string", column: "pool" },
    capacity_bytes: { type: "int64", column: "capacity" },
    status: {
      type: "enum",
      column: "status",
      prefix: "VOLUME_STATUS_",
      values: { INITIAL: "initial", PUBLISHED: "published", CONNECTED: "connected", STAGED: "staged", MOUNTED: "mounted" },
    },
    mode: { type: "enum", column: "mode", prefix: "VOLUME_MODE_", values: { FILESYSTEM: "filesystem", BLOCK: "block" } },
    sparse: { type: "bool", column: "sparse" },
    origin: { type: "resource", column: "origin", prefix: "snapshots/" },
    create_time: { type: "timestamp", column: "created_at" },
  },
  orders: { name: "id", create_time: "created_at", capacity_bytes: "capacity" },
  defaultOrder: "name",
};
