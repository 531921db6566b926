import { invalidField, StorageError, type Secret } from "@zfsilo/lib";
import { Tool } from "../tool.ts";
import type { Argv, CallOptions, Executor, RunOptions } from "@zfsilo/command";
import { parseHostPath, type HostPath } from "../mount/host-path.ts";
import { zfsFailures } from "./errors.ts";
import type { DatasetName } from "./names.ts";

/** The ciphers of zfsprops(7), `encryption`. */
export const encryptionAlgorithms = ["aes-256-gcm", "aes-192-gcm", "aes-128-gcm", "aes-256-ccm", "aes-192-ccm", "aes-128-ccm"] as const;
export type EncryptionAlgorithm = (typeof encryptionAlgorithms)[number];

/** Length of the wrapping key, whatever the cipher (WRAPPING_KEY_LEN, include/sys/dsl_crypt.h). */
export const wrappingKeyBytes = 32;

/** From a file of the host, or given with each call: 64 hex digits, which travel on stdin and nowhere else. */
export type KeySource = { readonly file: HostPath } | { readonly hex: Secret };

export interface EncryptionSpec {
  readonly algorithm: EncryptionAlgorithm;
  readonly key: KeySource;
}

export function parseEncryptionAlgorithm(text: string, field = "encryption.algorithm"): EncryptionAlgorithm {
  const found = encryptionAlgorithms.find((algorithm) => algorithm === text);
  if (found !== undefined) return found;
  throw invalidField(field, `${JSON.stringify(text.slice(0, 80))} is unknown`, `Known: ${encryptionAlgorithms.join(", ")}.`);
}

/** `-o` words for `zfs create`. A file holds the raw key; what is typed must be hex, since stdin is text. */
export function encryptionArguments({ algorithm, key }: EncryptionSpec): readonly string[] {
  const [format, location] = "file" in key ? ["raw", `file://${key.file}`] : ["hex", "prompt"];
  return [`encryption=${algorithm}`, `keyformat=${format}`, `keylocation=${location}`].flatMap((word) => ["-o", word]);
}

/** What zfs reads its key from when it asks. Nothing for a key in a file. */
export function keyInput(key: KeySource | undefined): Pick<RunOptions, "stdin"> {
  return key === undefined || "file" in key ? {} : { stdin: `${key.hex.reveal()}\n` };
}

/** Keys of encryption roots (zfs-load-key(8)). A clone has the root of its origin: its key is loaded and unloaded there. */
export class ZfsKeys {
  readonly #executor: Executor;
  readonly #tool: Tool;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#tool = new Tool(executor, zfsFailures);
  }

  /** Loads the key of an encryption root. Already loaded is done, but only with the right key. Its devices come back after a while. */
  async load(root: DatasetName, key: KeySource, o: CallOptions): Promise<void> {
    const loaded = await this.#try(`load the key of ${root}`, ["zfs", "load-key", root], { ...o, ...keyInput(key) }, "Key already loaded for");
    if (loaded === "already") await this.#tool.run(`verify the key of ${root}`, ["zfs", "load-key", "-n", root], { ...o, ...keyInput(key) });
    await this.#require(root, "available", o);
  }

  /** Where zfs takes the key of an encryption root from: a file of the host, or whoever gives it. */
  async location(root: DatasetName, o: CallOptions): Promise<HostPath | "prompt"> {
    const argv: Argv = ["zfs", "get", "-Hp", "-o", "value", "keylocation", root];
    const found = (await this.#tool.run(`read the key location of ${root}`, argv, o)).trim();
    return found.startsWith("file://") ? parseHostPath(found.slice("file://".length), "keylocation") : "prompt";
  }

  /** Unloads it: every volume of that root is locked, and its device goes. Refused as busy while one is open. Already is done. */
  async unload(root: DatasetName, o: CallOptions): Promise<void> {
    await this.#try(`unload the key of ${root}`, ["zfs", "unload-key", root], o, "Key already unloaded for");
    await this.#require(root, "unavailable", o);
  }

  async #try(doing: string, argv: Argv, o: RunOptions, already: string): Promise<"done" | "already"> {
    const result = await this.#tool.exit(argv, o);
    if (result.exitCode === 0) return "done";
    if (result.stderr.includes(already)) return "already";
    throw this.#tool.failure(doing, argv, result);
  }

  async #require(root: DatasetName, status: "available" | "unavailable", o: CallOptions): Promise<void> {
    const found = (await this.#tool.run(`read the key status of ${root}`, ["zfs", "get", "-Hp", "-o", "value", "keystatus", root], o)).trim();
    if (found === status) return;
    throw new StorageError("internal", `the key of ${root} on ${this.#executor.host} should be ${status}, and is ${found}`);
  }
}
