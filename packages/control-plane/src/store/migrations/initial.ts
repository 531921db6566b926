import type { MigrationInterface, QueryRunner } from "typeorm";

/** TypeORM orders migrations by the milliseconds at the end of the name. */
export class Initial1767225600000 implements MigrationInterface {
  readonly name = "Initial1767225600000";

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ["attachments", "volumes", "hosts", "operations", "settings"]) {
      await runner.query(`drop table "${table}"`);
    }
  }
}

const statements = [
  `create table "hosts" (
    "id" text primary key not null,
    "display_name" text not null,
    "labels" text not null,
    "roles" text not null,
    "connection" text not null,
    "pools" text not null,
    "portals" text not null,
    "initiator_iqn" text not null,
    "allowed_roots" text not null,
    "condition" text not null,
    "revision" integer not null,
    "created_at" text not null,
    "updated_at" text not null
  )`,
  // A host cannot go while a volume or an attachment names it, whoever asks and whatever raced.
  `create table "volumes" (
    "id" text primary key not null,
    "handle" text not null unique,
    "display_name" text not null,
    "labels" text not null,
    "host_id" text not null references "hosts" ("id") on delete restrict,
    "pool" text not null,
    "dataset" text not null,
    "capacity" text not null check (length("capacity") = 19),
    "sparse" integer not null,
    "zfs_options" text not null,
    "mode" text not null,
    "filesystem" text not null,
    "transport" text not null,
    "authentication" text not null,
    "state" text not null,
    "status" text not null,
    "request_fingerprint" text not null,
    "target_name" text not null,
    "published" integer not null,
    "portals" text not null,
    "zvol_guid" text not null,
    "generation" integer not null,
    "condition" text not null,
    "revision" integer not null,
    "created_at" text not null,
    "updated_at" text not null
  )`,
  // A volume's row stays while a host may still be logged in to it: forgetting the row would leak the session.
  `create table "attachments" (
    "volume_id" text not null references "volumes" ("id") on delete restrict,
    "host_id" text not null references "hosts" ("id") on delete restrict,
    "initiator_iqn" text not null,
    "state" text not null,
    "device" text not null,
    "staging_path" text not null,
    "read_only" integer not null,
    "target_paths" text not null,
    "chap" text not null,
    "generation" integer not null,
    "created_at" text not null,
    primary key ("volume_id", "host_id")
  )`,
  `create table "operations" (
    "id" text primary key not null,
    "kind" text not null,
    "direction" text not null,
    "subject" text not null,
    "fingerprint" text not null,
    "context" text not null,
    "state" text not null,
    "steps" text not null,
    "failure" text not null,
    "commands" text not null,
    "created_at" text not null,
    "ended_at" text not null
  )`,
  `create table "settings" ("key" text primary key not null, "value" text not null)`,
  // Two rows never share a zvol.
  `create unique index "volumes_dataset" on "volumes" ("host_id", "dataset")`,
  // One index for each order that lists offer: a page costs the same wherever it is.
  `create index "volumes_created_at" on "volumes" ("created_at", "id")`,
  `create index "volumes_capacity" on "volumes" ("capacity", "id")`,
  `create index "volumes_host" on "volumes" ("host_id", "id")`,
  `create index "volumes_status" on "volumes" ("state", "status")`,
  `create index "attachments_host" on "attachments" ("host_id")`,
  `create index "hosts_created_at" on "hosts" ("created_at", "id")`,
  `create index "operations_created_at" on "operations" ("created_at", "id")`,
  `create index "operations_subject" on "operations" ("subject", "created_at", "id")`,
  `create index "operations_ended_at" on "operations" ("ended_at")`,
  `create index "operations_open" on "operations" ("created_at", "id") where "state" in ('running', 'undoing', 'stuck')`,
];
