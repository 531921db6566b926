import { StorageError, type Logger } from "@zfsilo/lib";
import type { SecretKey } from "../secret-key.ts";
import { openDatabase } from "./database.ts";
import { SqlHostStore } from "./host-store.ts";
import { SqlOperationStore } from "./operation-store.ts";
import { PageTokens } from "./query/page-token.ts";
import { SecretBox } from "./secret-box.ts";
import { SettingsStore } from "./settings-store.ts";
import type { HostStore, OperationStore, VolumeStore } from "./stores.ts";
import { SqlVolumeStore } from "./volume-store.ts";

export interface Stores {
  readonly volumes: VolumeStore;
  readonly hosts: HostStore;
  readonly operations: OperationStore;
  readonly settings: SettingsStore;
  /** Waits for writes that are under way. */
  close(): Promise<void>;
}

export interface OpenStoresOptions {
  readonly file: string;
  readonly key: SecretKey;
  readonly log: Logger;
}

/** Everything that the control plane keeps, in one SQLite file. */
export async function openStores({ file, key, log }: OpenStoresOptions): Promise<Stores> {
  const database = await openDatabase({ file, log });
  const settings = new SettingsStore(database);
  try {
    // Found out here, and not when a volume can no longer be attached because its secrets cannot be opened.
    if ((await settings.choose("secret_key_fingerprint", key.fingerprint())) !== key.fingerprint()) {
      throw new StorageError("precondition", `${file} was sealed with another secret key`, {
        hint: "Restore secret.key beside it, or set ZFSILO_SECRET_KEY to the key that was used before.",
      });
    }
  } catch (error) {
    await database.close();
    throw error;
  }
  const tokens = new PageTokens(key.derive("page-tokens"));
  return {
    volumes: new SqlVolumeStore(database, new SecretBox(key.derive("chap-secrets")), tokens),
    hosts: new SqlHostStore(database, tokens),
    operations: new SqlOperationStore(database, tokens),
    settings,
    close: () => database.close(),
  };
}
