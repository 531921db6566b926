import type { MigrationInterface, QueryRunner } from "typeorm";

/** Snapshots and groups of them; where a volume's first content came from; every subject an operation holds. */
export class Snapshots1772323200000 implements MigrationInterface {
  readonly name = "Snapshots1772323200000";

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ["snapshots", "group_snapshots"]) await runner.query(`drop table "${table}"`);
    await runner.query(`drop index "volumes_origin"`);
    for (const column of ["source", "origin"]) await runner.query(`alter table "volumes" drop column "${column}"`);
    await runner.query(`alter table "operations" drop column "holds"`);
  }
}

const statements = [
  `alter table "volumes" add column "source" text not null default ''`,
  `alter table "volumes" add column "origin" text not null default ''`,
  `create index "volumes_origin" on "volumes" ("origin", "id") where "origin" <> ''`,
  `alter table "operations" add column "holds" text not null default '[]'`,
  // The volume is no reference: a snapshot that a clone has taken over outlives the volume whose content it is.
  `create table "snapshots" (
    "id" text primary key not null,
    "handle" text not null,
    "display_name" text not null,
    "labels" text not null,
    "volume_id" text not null,
    "host_id" text not null references "hosts" ("id") on delete restrict,
    "pool" text not null,
    "dataset" text not null,
    "consistency" text not null,
    "state" text not null,
    "capacity" text not null check (length("capacity") = 19),
    "content" text not null,
    "zfs_guid" text not null,
    "create_txg" text not null,
    "space" text not null,
    "holds" text not null,
    "group_id" text not null,
    "request_fingerprint" text not null,
    "condition" text not null,
    "revision" integer not null,
    "created_at" text not null,
    "updated_at" text not null
  )`,
  `create table "group_snapshots" (
    "id" text primary key not null,
    "display_name" text not null,
    "labels" text not null,
    "consistency" text not null,
    "host_id" text not null references "hosts" ("id") on delete restrict,
    "volumes" text not null,
    "snapshots" text not null,
    "state" text not null,
    "request_fingerprint" text not null,
    "created_at" text not null
  )`,
  // Two rows never share a snapshot of ZFS. The same index finds those of one dataset.
  `create unique index "snapshots_dataset" on "snapshots" ("host_id", "dataset", "handle")`,
  `create index "snapshots_created_at" on "snapshots" ("created_at", "id")`,
  `create index "snapshots_capacity" on "snapshots" ("capacity", "id")`,
  `create index "snapshots_volume" on "snapshots" ("volume_id", "id")`,
  `create index "snapshots_volume_created_at" on "snapshots" ("volume_id", "created_at", "id")`,
  `create index "snapshots_group" on "snapshots" ("group_id") where "group_id" <> ''`,
  `create index "group_snapshots_created_at" on "group_snapshots" ("created_at", "id")`,
];
