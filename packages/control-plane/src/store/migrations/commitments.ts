import type { MigrationInterface, QueryRunner } from "typeorm";

/** How much capacity is promised under each parent dataset, kept by the database itself: asking costs the same for ten thousand volumes. */
export class Commitments1774051200000 implements MigrationInterface {
  readonly name = "Commitments1774051200000";

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const trigger of ["committed", "released", "resized"]) await runner.query(`drop trigger "volumes_${trigger}"`);
    await runner.query(`drop table "commitments"`);
  }
}

/** The dataset without its leaf, which is the handle. */
const parentOf = (row: string): string => `substr(${row}"dataset", 1, length(${row}"dataset") - length(${row}"handle") - 1)`;
/** In blocks of 512 bytes, of which every capacity is a multiple: sums of sparse volumes stay below 2^63. */
const blocksOf = (row: string): string => `cast(${row}"capacity" as integer) / 512`;
const rowOf = (row: string): string => `"host_id" = ${row}."host_id" and "parent" = ${parentOf(`${row}.`)}`;

const statements = [
  `create table "commitments" (
    "host_id" text not null,
    "parent" text not null,
    "volumes" integer not null,
    "blocks" integer not null,
    primary key ("host_id", "parent")
  )`,
  `insert into "commitments" select "host_id", ${parentOf("")}, count(*), sum(${blocksOf("")}) from "volumes" group by 1, 2`,
  `create trigger "volumes_committed" after insert on "volumes" begin
    insert into "commitments" values (new."host_id", ${parentOf("new.")}, 1, ${blocksOf("new.")})
    on conflict ("host_id", "parent") do update set "volumes" = "volumes" + 1, "blocks" = "blocks" + excluded."blocks";
  end`,
  `create trigger "volumes_released" after delete on "volumes" begin
    update "commitments" set "volumes" = "volumes" - 1, "blocks" = "blocks" - ${blocksOf("old.")} where ${rowOf("old")};
    delete from "commitments" where ${rowOf("old")} and "volumes" = 0;
  end`,
  `create trigger "volumes_resized" after update of "capacity" on "volumes" begin
    update "commitments" set "blocks" = "blocks" - ${blocksOf("old.")} + ${blocksOf("new.")} where ${rowOf("new")};
  end`,
];
