import type { Database } from "./database.ts";
import { settingEntity } from "./entities.ts";

export type SettingKey = "cluster_id" | "secret_key_fingerprint";

/** Facts about this installation that are chosen once. */
export class SettingsStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(key: SettingKey): Promise<string | undefined> {
    const rows = await this.#database.read<{ value: string }>(`select "value" from "settings" where "key" = ?`, [key]);
    return rows[0]?.value;
  }

  /** Stores the value unless there is one. Returns the one that is stored. */
  async choose(key: SettingKey, value: string): Promise<string> {
    await this.#database.write((manager) =>
      manager.createQueryBuilder().insert().into(settingEntity).values({ key, value }).orIgnore().execute(),
    );
    return (await this.find(key)) ?? value;
  }
}
