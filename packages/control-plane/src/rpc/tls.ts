import { errorChain, StorageError, type Logger } from "@zfsilo/lib";
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";

/** Files in PEM form. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Set: callers have to show a certificate that one of these authorities signed. */
  readonly clientCaFile: string | undefined;
}

/** What tls.createServer and setSecureContext take. */
interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
  readonly minVersion: "TLSv1.2";
}

/** Kubernetes swaps a link when a Secret changes, which no watch of the file itself sees: the content is compared. */
const lookEveryMs = 5_000;

/** The certificate, read again when it changes. One that cannot be used is logged, and the one before stays. */
export class TlsIdentity implements Disposable {
  readonly #files: TlsFiles;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #current: Identity;
  #failed = "";
  #onChange: (options: Identity) => void = () => undefined;

  private constructor(files: TlsFiles, log: Logger, current: Identity, everyMs: number) {
    this.#files = files;
    this.#log = log;
    this.#current = current;
    this.#timer = setInterval(() => { void this.look(); }, everyMs);
    this.#timer.unref();
  }

  /** Throws when the files cannot be used: then nothing is started. */
  static async load(files: TlsFiles, log: Logger, everyMs = lookEveryMs): Promise<TlsIdentity> {
    return new TlsIdentity(files, log, await readIdentity(files), everyMs);
  }

  get options(): Identity {
    return this.#current;
  }

  get asksForClients(): boolean {
    return this.#files.clientCaFile !== undefined;
  }

  onChange(listener: (options: Identity) => void): void {
    this.#onChange = listener;
  }

  async look(): Promise<void> {
    try {
      const found = await readIdentity(this.#files);
      this.#failed = "";
      if (isSame(found, this.#current)) return;
      this.#current = found;
      this.#onChange(found);
      this.#log.info({ certFile: this.#files.certFile, validTo: validTo(found) }, "the certificate has changed; new connections get it");
    } catch (error) {
      // Once for each way it fails, and not every few seconds.
      if (this.#failed === errorChain(error)) return;
      this.#failed = errorChain(error);
      this.#log.error({ err: error }, "the changed certificate cannot be used; the one before stays");
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

async function readIdentity({ certFile, keyFile, clientCaFile }: TlsFiles): Promise<Identity> {
  const [cert, key, ca] = await Promise.all([read(certFile), read(keyFile), clientCaFile === undefined ? undefined : read(clientCaFile)]);
  const options = { cert, key, ...(ca && { ca }), minVersion: "TLSv1.2" } as const;
  try {
    // Refuses a key that belongs to another certificate, as it is while only one of the two files has changed.
    createSecureContext(options);
  } catch (error) {
    throw new StorageError("precondition", `use the certificate ${certFile} with the key ${keyFile}`, {
      cause: error,
      hint: "Both must be PEM files, and the key must be the certificate's.",
    });
  }
  return options;
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new StorageError("precondition", `read ${file}`, { cause: error });
  }
}

function isSame(a: Identity, b: Identity): boolean {
  return a.cert.equals(b.cert) && a.key.equals(b.key) && (a.ca === undefined ? b.ca === undefined : b.ca?.equals(a.ca) === true);
}

function validTo({ cert }: Identity): string {
  return new X509Certificate(cert).validTo;
}
