import { StorageError } from "@zfsilo/lib";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** First byte of everything sealed, so that another way of sealing can be told apart later. */
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;

/** Seals short texts for the database: AES-256-GCM, a random nonce each time. */
export class SecretBox {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** `owner` names the row. What was sealed for one row cannot be opened as another's. */
  seal(text: string, owner: string): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce);
    cipher.setAAD(Buffer.from(owner));
    const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([Buffer.of(version), nonce, body, cipher.getAuthTag()]).toString("base64");
  }

  open(sealed: string, owner: string): string {
    const bytes = Buffer.from(sealed, "base64");
    try {
      if (bytes[0] !== version || bytes.length < 1 + nonceBytes + tagBytes) throw new Error("not sealed by this version");
      const nonce = bytes.subarray(1, 1 + nonceBytes);
      const decipher = createDecipheriv("aes-256-gcm", this.#key, nonce, { authTagLength: tagBytes });
      decipher.setAAD(Buffer.from(owner));
      decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
      const body = bytes.subarray(1 + nonceBytes, bytes.length - tagBytes);
      return Buffer.concat([decipher.update(body), decipher.final()]).toString("utf8");
    } catch (error) {
      throw new StorageError("internal", `open the sealed secrets of ${owner}`, { cause: error });
    }
  }
}
