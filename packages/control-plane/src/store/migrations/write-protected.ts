import type { MigrationInterface, QueryRunner } from "typeorm";

/** Initiators that a target only lets read. */
export class WriteProtected1779235200000 implements MigrationInterface {
  readonly name = "WriteProtected1779235200000";

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "attachments" add column "write_protected" integer not null default 0`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "attachments" drop column "write_protected"`);
  }
}
