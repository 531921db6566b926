import { createHash, randomBytes } from "node:crypto";

/** What the database knows of a secret. Secrets have 256 random bits: nothing is gained by salting or stretching. */
export function sha256(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function isCredentialHash(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** The secret in an Authorization header; empty, which nothing matches, without one. */
export function bearer(authorization: string | null): string {
  return /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
}

export function newJoinSecret(): string {
  return `zj_${randomBytes(32).toString("base64url")}`;
}
