import { StorageError } from "@zfsilo/lib";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import { createPrivateFile, readPrivateFile } from "../secret-key.ts";

/** A bearer token, known by its hash alone. */
export interface KnownToken {
  readonly name: string;
  /** SHA-256 of the token, 64 hex digits. */
  readonly sha256: string;
}

/** Who may call. */
export class Tokens {
  #known: readonly { readonly name: string; readonly hash: Buffer }[] = [];

  constructor(known: readonly KnownToken[]) {
    this.replace(known);
  }

  /** From here on these may call, and no others. */
  replace(known: readonly KnownToken[]): void {
    this.#known = known.map(({ name, sha256 }) => ({ name, hash: Buffer.from(sha256, "hex") }));
  }

  /** The name of the token in an Authorization header; undefined when it is none of ours. Takes as long for all of them. */
  callerOf(authorization: string | null): string | undefined {
    const token = /^Bearer +([^\s]+)$/i.exec(authorization ?? "")?.[1] ?? "";
    const presented = createHash("sha256").update(token).digest();
    let caller: string | undefined;
    for (const { name, hash } of this.#known) if (timingSafeEqual(presented, hash)) caller = name;
    return caller;
  }
}

export interface AdminToken {
  readonly file: string;
  readonly created: boolean;
  readonly known: KnownToken;
}

/** The token in `admin.token` of the data directory, made at the first start. */
export async function loadAdminToken(dataDir: string): Promise<AdminToken> {
  const file = join(dataDir, "admin.token");
  const created = (await createPrivateFile(file, () => `${randomBytes(32).toString("base64url")}\n`)) === "created";
  return { file, created, known: await readAdminToken(file) };
}

export async function readAdminToken(file: string): Promise<KnownToken> {
  const token = (await readPrivateFile(file)).trim();
  if (!/^\S{16,}$/.test(token)) {
    throw new StorageError("precondition", `${file} holds no token`, { hint: "Remove it: the next start makes another." });
  }
  return { name: "admin", sha256: createHash("sha256").update(token).digest("hex") };
}
