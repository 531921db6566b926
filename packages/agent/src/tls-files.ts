import { StorageError } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import type { SecureClientSessionOptions } from "node:http2";

/** Files in PEM form. */
export interface TlsFiles {
  /** Certificates of the authority that signed the control plane's. Without it, those that the system trusts. */
  readonly caFile?: string | undefined;
  /** For a control plane that asks for client certificates. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** The control plane's certificate is always verified; there is no option that would not. */
export async function readTls(files: TlsFiles = {}): Promise<SecureClientSessionOptions> {
  const [ca, cert, key] = await Promise.all([read(files.caFile), read(files.certFile), read(files.keyFile)]);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

async function read(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file);
  } catch (error) {
    throw new StorageError("precondition", `read ${file}`, { cause: error });
  }
}
