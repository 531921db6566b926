import type { MigrationInterface, QueryRunner } from "typeorm";

/** Which credentials open the stream of which host, and what new agents enrol with. Hashes alone: no secret is kept. */
export class Agents1774915200000 implements MigrationInterface {
  readonly name = "Agents1774915200000";

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ["agents", "join_tokens"]) await runner.query(`drop table "${table}"`);
  }
}

const statements = [
  // The credentials of a host that is forgotten open nothing any more.
  `create table "agents" (
    "host_id" text primary key not null references "hosts" ("id") on delete cascade,
    "credential" text not null unique,
    "next_credential" text not null,
    "enrolled_at" text not null,
    "revoked_at" text not null,
    "last_seen_at" text not null,
    "version" text not null,
    "node_name" text not null,
    "problem" text not null
  )`,
  `create table "join_tokens" (
    "id" text primary key not null,
    "sha256" text not null unique,
    "host_id" text not null,
    "template" text not null,
    "node_name_pattern" text not null,
    "replace_offline" integer not null,
    "max_uses" integer not null,
    "uses" integer not null,
    "created_at" text not null,
    "expires_at" text not null
  )`,
  `create index "join_tokens_created_at" on "join_tokens" ("created_at", "id")`,
];
