import { StorageError } from "@zfsilo/lib";

/** Why nothing more is run at a place: somebody decided that the work goes on without it. */
export class GivenUpError extends StorageError {
  /** `place` as a resource name. */
  constructor(place: string, cause?: unknown) {
    super("aborted", `${place} was forced off while this ran there`, {
      ...(cause === undefined ? {} : { cause }),
      details: { host: place },
      hint: "Another call took its access away with force. What is left there is cleaned up when it answers again.",
    });
    this.name = "GivenUpError";
  }
}

export function isGivenUp(error: unknown): boolean {
  for (let link = error; link instanceof Error; link = link.cause) if (link instanceof GivenUpError) return true;
  return false;
}

/** Throws why something failed, if anything did. That a place was given up matters least: the rest must have been done. */
export function requireAllDone(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
  if (failures.length > 0) throw failures.find((failure) => !isGivenUp(failure)) ?? failures[0];
}
