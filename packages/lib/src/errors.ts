/** Why something failed, in the few words every part of zfsilo agrees on. Each front (Connect, CSI) maps these to its own codes. */
export const reasons = [
  "invalid_argument",
  "not_found",
  "already_exists",
  "no_space",
  "busy",
  "has_dependents",
  "precondition",
  "aborted",
  "unavailable",
  "timeout",
  "unauthenticated",
  "permission_denied",
  "unimplemented",
  "internal",
] as const;

export type Reason = (typeof reasons)[number];

export interface StorageErrorOptions {
  readonly cause?: unknown;
  /** What a person can do about it, in one sentence. Shown to the caller. */
  readonly hint?: string;
  /** Machine-readable facts (field, volume, operation). Shown to the caller: never a secret. */
  readonly details?: Readonly<Record<string, string>>;
}

/**
 * The one error type that crosses package boundaries. `message` says what we were doing and on what; why it failed is in
 * `cause`, and is never repeated in the message (errorChain prints both).
 */
export class StorageError extends Error {
  readonly reason: Reason;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, string>>;

  constructor(reason: Reason, message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StorageError";
    this.reason = reason;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

/** A request that names a bad field. `field` is the path as the caller wrote it, e.g. `volume.capacity_bytes`. */
export function invalidField(field: string, problem: string, hint?: string): StorageError {
  return new StorageError("invalid_argument", `${field}: ${problem}`, {
    details: { field },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The reason of anything thrown: that of the outermost StorageError in its cause chain, else `internal`. */
export function reasonOf(error: unknown): Reason {
  for (const link of chainOf(error)) if (link instanceof StorageError) return link.reason;
  return "internal";
}

/** Adds what we were doing to a failure. The reason, hint and details of the cause survive. */
export function wrapError(message: string, cause: unknown, details?: Readonly<Record<string, string>>): StorageError {
  const known = cause instanceof StorageError ? cause : undefined;
  return new StorageError(reasonOf(cause), message, {
    cause,
    details: { ...known?.details, ...details },
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

/** The messages from the outermost error to the root cause, joined by `: `, as logs and stored operations show them. */
export function errorChain(error: unknown): string {
  return chainOf(error)
    .map((link) => (link instanceof Error ? link.message : String(link)))
    .join(": ");
}

/** A broken assumption of our own code: never caused by input or a host. */
export class BugError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "BugError";
  }
}

function chainOf(error: unknown): unknown[] {
  const links: unknown[] = [];
  let link: unknown = error;
  // Ten links is more than any real chain; the bound keeps a circular cause from hanging the logger.
  while (link !== undefined && link !== null && links.length < 10) {
    links.push(link);
    link = link instanceof Error ? link.cause : undefined;
  }
  return links;
}
