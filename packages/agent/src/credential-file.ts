import { Secret, StorageError } from "@zfsilo/lib";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";

/** Who the agent is. In a file of mode 0600, on the host's own disk: a node keeps its identity over restarts. */
export interface Identity {
  /** hosts/{host}; empty until the control plane has taken the credential. */
  readonly host: string;
  readonly credential: Secret;
  /** Made up in a rotation that has not ended: the control plane may know either. */
  readonly next: Secret | undefined;
}

const schema = z.strictObject({ host: z.string(), credential: z.string().min(32), next: z.string().min(32).optional() });

export class CredentialFile {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  async read(): Promise<Identity | undefined> {
    let text: string;
    try {
      text = await readFile(this.#file, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw new StorageError("precondition", `read the credential file ${this.#file}`, { cause: error });
    }
    const parsed = schema.safeParse(parseJson(text));
    if (!parsed.success) {
      throw new StorageError("precondition", `${this.#file} holds no credential of an agent`, {
        hint: "Remove it, and enrol the agent with a new join token.",
      });
    }
    const { host, credential, next } = parsed.data;
    return { host, credential: new Secret(credential), next: next === undefined ? undefined : new Secret(next) };
  }

  /** On disk when it returns, whole or not at all: losing it means enrolling anew. */
  async write({ host, credential, next }: Identity): Promise<void> {
    const content = { host, credential: credential.reveal(), ...(next && { next: next.reveal() }) };
    const temporary = `${this.#file}.new`;
    try {
      await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
      await using handle = await open(temporary, "w", 0o600);
      await handle.chmod(0o600);
      await handle.writeFile(`${JSON.stringify(content)}\n`);
      await handle.sync();
      await rename(temporary, this.#file);
    } catch (error) {
      throw new StorageError("precondition", `write the credential file ${this.#file}`, {
        cause: error,
        hint: "The agent keeps its identity there: give it a directory that it can write and that outlives it.",
      });
    }
  }
}

export function newCredential(): Secret {
  return new Secret(`zc_${randomBytes(32).toString("base64url")}`);
}

/** What the control plane is told of a credential. */
export function hashOf(credential: Secret): string {
  return createHash("sha256").update(credential.reveal()).digest("hex");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
