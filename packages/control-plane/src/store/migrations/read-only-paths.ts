import type { MigrationInterface, QueryRunner } from "typeorm";

/** What a mount must be made with again after a reboot of its host; and abnormal volumes found without reading the others. */
export class ReadOnlyPaths1769904000000 implements MigrationInterface {
  readonly name = "ReadOnlyPaths1769904000000";

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "attachments" add column "read_only_paths" text not null default '[]'`);
    await runner.query(`create index "volumes_condition" on "volumes" ("condition") where "condition" <> ''`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop index "volumes_condition"`);
    await runner.query(`alter table "attachments" drop column "read_only_paths"`);
  }
}
