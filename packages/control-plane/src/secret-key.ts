import { StorageError } from "@zfsilo/lib";
import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { constants, type FileHandle, open, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { requireOwn } from "./data-directory.ts";

const keyBytes = 32;
const keyFile = "secret.key";

/** What the key is used for. Each use has a key of its own, so that a leak or a weakness in one says nothing about another. */
export type KeyPurpose = "chap-secrets" | "page-tokens" | "check";

/** The one secret of an installation. It seals what the database must not show. */
export class SecretKey {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  derive(purpose: KeyPurpose): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#key, Buffer.alloc(0), `zfsilo ${purpose}`, keyBytes));
  }

  /** Tells two keys apart without telling anything about them. */
  fingerprint(): string {
    return createHash("sha256").update(this.derive("check")).digest("hex").slice(0, 32);
  }
}

export interface SecretKeySource {
  /** ZFSILO_SECRET_KEY; undefined or empty uses the file. */
  readonly fromEnvironment: string | undefined;
  readonly dataDir: string;
}

/** The key from the environment or from `secret.key` in the data directory; undefined when there is none yet. */
export async function findSecretKey({ fromEnvironment, dataDir }: SecretKeySource): Promise<SecretKey | undefined> {
  if (fromEnvironment !== undefined && fromEnvironment !== "") return parseKey(fromEnvironment, "ZFSILO_SECRET_KEY");
  const file = join(dataDir, keyFile);
  try {
    return parseKey(await readPrivateFile(file), file);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Makes `secret.key` in the data directory unless it is there. */
export async function createSecretKey(dataDir: string): Promise<SecretKey> {
  const file = join(dataDir, keyFile);
  await createPrivateFile(file, () => `${randomBytes(keyBytes).toString("base64")}\n`);
  return parseKey(await readPrivateFile(file), file);
}

function parseKey(text: string, source: string): SecretKey {
  const trimmed = text.trim();
  const key = Buffer.from(trimmed, "base64");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(trimmed) || key.length !== keyBytes) {
    throw new StorageError("invalid_argument", `${source} does not hold ${keyBytes} bytes in base64`, {
      hint: "Restore the key that was used before. For a new installation, `openssl rand -base64 32` makes one.",
    });
  }
  return new SecretKey(key);
}

/** Makes a file that only its owner can read, on disk when this resolves. An existing file is left alone. */
export async function createPrivateFile(file: string, content: () => string): Promise<"created" | "exists"> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return "exists";
    throw new StorageError("precondition", `create ${file}`, { cause: error });
  }
  try {
    await handle.writeFile(content());
    await handle.sync();
  } finally {
    await handle.close();
  }
  // The name is in the directory: without this a power cut could keep what the key sealed and lose the key.
  const directory = await open(dirname(file), constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
  return "created";
}

/** Reads a secret, unless others than its owner could have read it or put it there. */
export async function readPrivateFile(file: string): Promise<string> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) {
    throw new StorageError("precondition", `${file} can be read by others than its owner`, {
      hint: `Run \`chmod 600 ${file}\`, and consider who may have read it.`,
    });
  }
  await requireOwn(file);
  return readFile(file, "utf8");
}
