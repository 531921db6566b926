import { setTimeout as sleep } from "node:timers/promises";
import { Bucket } from "./bucket.ts";

const burst = 20;
const perSecond = 5;
const delayMs = 1_000;
/** Answers held back at once. Each costs a stream, so beyond this the connection ends instead. */
const maxWaiting = 256;
const maxAddresses = 10_000;

/**
 * Slows down whoever shows wrong tokens, by address. Right tokens are never asked for here: behind a proxy all callers have one
 * address, and a stranger must not lock out the others.
 */
export class LoginThrottle {
  readonly #buckets = new Map<string, Bucket>();
  #waiting = 0;

  /** Resolves when the refusal may be sent; false: end the connection, there are too many. */
  async failed(address: string): Promise<boolean> {
    if (this.#bucket(address).take()) return true;
    if (this.#waiting >= maxWaiting) return false;
    this.#waiting += 1;
    await sleep(delayMs, undefined, { ref: false });
    this.#waiting -= 1;
    return true;
  }

  /** The address that failed last is the last one to be forgotten. */
  #bucket(address: string): Bucket {
    const key = network(address);
    const bucket = this.#buckets.get(key) ?? new Bucket(burst, perSecond);
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > maxAddresses && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}

/** One machine has a whole /64 of IPv6 addresses to come from. */
function network(address: string): string {
  return address.includes(":") && !address.includes(".") ? address.split(":").slice(0, 4).join(":") : address;
}
