import type { MigrationInterface, QueryRunner } from "typeorm";

/** How a volume is encrypted. Never a key. */
export class Encryption1776729600000 implements MigrationInterface {
  readonly name = "Encryption1776729600000";

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "volumes" add column "encryption" text not null default ''`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "volumes" drop column "encryption"`);
  }
}
