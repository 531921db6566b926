import type { MigrationInterface, QueryRunner } from "typeorm";

/** What initiators that were forced off a volume may still have of it. */
export class Leftovers1780704000000 implements MigrationInterface {
  readonly name = "Leftovers1780704000000";

  async up(runner: QueryRunner): Promise<void> {
    // Nobody comes back for those of a host that is forgotten. The volume may be gone: its target name is what finds them.
    await runner.query(`create table "leftovers" (
      "host_id" text not null references "hosts" ("id") on delete cascade,
      "target_name" text not null,
      "volume_id" text not null,
      "created_at" text not null,
      primary key ("host_id", "target_name")
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table "leftovers"`);
  }
}
