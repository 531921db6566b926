import { setMaxListeners } from "node:events";
import { CommandError, SshConnectError } from "@zfsilo/command";
import { StorageError, type HostId } from "@zfsilo/lib";

/**
 * Why a host could not be looked at. `unreachable`: no answer. `unreadable`: it answered, and not as we know it, or we have nothing
 * to log in with. `stranger`: it shows another host key than the known one.
 */
export type LookFailure = "unreachable" | "unreadable" | "stranger";

/** One look at one host, while it lasts. */
export interface Look {
  /** Aborts when the look is over: nobody waits for it any more, or the host was silent for too long. */
  readonly signal: AbortSignal;
  /** Notes the first answer: from then on the limits of the single commands are enough. */
  readonly heard: <T>(work: Promise<T>) => Promise<T>;
}

/** A machine that takes a connection and never answers must not keep the others from being looked at. */
const silenceLimitMs = 10_000;

/**
 * Looks at a host, and stops waiting when nothing at all has come from it in time. A large host may take longer for some answers,
 * and the small ones show that it lives.
 */
export async function lookAt<T>(host: HostId, signal: AbortSignal, look: (one: Look) => Promise<T>, limitMs = silenceLimitMs): Promise<T> {
  signal.throwIfAborted();
  const over = new AbortController();
  // Any number of hosts share a signal; each takes its listener away again, so Node's warning would be a false alarm.
  setMaxListeners(0, signal, over.signal);
  const stop = (): void => { over.abort(signal.reason); };
  signal.addEventListener("abort", stop, { once: true });
  const silent = setTimeout(() => {
    over.abort(new StorageError("timeout", `look at hosts/${host}: no answer within ${limitMs / 1000} s`, { hint: "See what holds the machine up." }));
  }, limitMs);
  const one: Look = {
    signal: over.signal,
    heard: (work) => {
      void work.then(() => { clearTimeout(silent); }, (error: unknown) => { if (kindOf(error) !== "unreachable") clearTimeout(silent); });
      return work;
    },
  };
  const aborted = new Promise<never>((_resolve, reject) => {
    over.signal.addEventListener("abort", () => { reject(over.signal.reason as Error); }, { once: true });
  });
  try {
    // What is under way there may take its time to end: it is nobody's any more.
    return await Promise.race([aborted, look(one)]);
  } finally {
    clearTimeout(silent);
    signal.removeEventListener("abort", stop);
  }
}

/** Why a look failed, in the words of conditions. */
export function kindOf(error: unknown): LookFailure {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (link instanceof SshConnectError && link.kind !== "unreachable") return link.kind === "host_key" ? "stranger" : "unreadable";
  }
  return isUnreachable(error) ? "unreachable" : "unreadable";
}

/** No answer came, as opposed to one that says no. */
export function isUnreachable(error: unknown): boolean {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (link instanceof CommandError && (link.reason === "unavailable" || link.reason === "timeout")) return true;
    if (link instanceof StorageError && link.reason === "timeout") return true;
  }
  return false;
}
