import type { MigrationInterface, QueryRunner } from "typeorm";

/** Hosts that nodes made by joining. Of those that are there nobody knows it any more, so they are taken as made by a person. */
export class HostFromTemplate1780444800000 implements MigrationInterface {
  readonly name = "HostFromTemplate1780444800000";

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "hosts" add column "from_template" integer not null default 0`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table "hosts" drop column "from_template"`);
  }
}
