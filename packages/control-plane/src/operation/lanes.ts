import { Slots } from "@zfsilo/command";

/**
 * How many are at work on one host. Work on simulated hosts, and the journal, are one processor's: what is done at the same time
 * ends at the same time, so the first of many would wait for that many.
 */
const placesPerHost = 3;

/** Whoever takes longer keeps nobody waiting any more: a host that hangs, or a long piece of work. */
const patienceMs = 10_000;
/** The same on a host where that has just happened. */
const shortPatienceMs = 1_000;

interface Lane {
  readonly slots: Slots;
  /** The last one took too long. */
  slow: boolean;
  /** Those at work and those that wait. */
  users: number;
}

export interface LaneOptions {
  readonly places?: number;
  readonly patienceMs?: number;
  readonly shortPatienceMs?: number;
}

/**
 * Places at work on each host, first come first served: many calls at once are answered one after another as they are done, and
 * not all at the end. It orders work and keeps nothing safe: a place is lent for a while, so nothing can wait in it for ever.
 * What has to go through at once (force, teardown of a connected volume, repairs, recovery) takes none.
 */
export class Lanes {
  readonly #options: Required<LaneOptions>;
  readonly #lanes = new Map<string, Lane>();

  constructor(options: LaneOptions = {}) {
    this.#options = { places: placesPerHost, patienceMs, shortPatienceMs, ...options };
  }

  async run<T>(host: string, work: () => Promise<T>): Promise<T> {
    const lane = this.#lanes.get(host) ?? { slots: new Slots(this.#options.places), slow: false, users: 0 };
    this.#lanes.set(host, lane);
    lane.users += 1;
    try {
      // Work belongs to the server: nobody gives up a place in the queue.
      await lane.slots.acquire(new AbortController().signal);
      return await this.#inPlace(lane, work);
    } finally {
      lane.users -= 1;
      if (lane.users === 0) this.#lanes.delete(host);
    }
  }

  async #inPlace<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    let held = true;
    const leave = (slow: boolean): void => {
      if (!held) return;
      held = false;
      lane.slow = slow;
      lane.slots.release();
    };
    const timer = setTimeout(() => { leave(true); }, lane.slow ? this.#options.shortPatienceMs : this.#options.patienceMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      leave(false);
    }
  }
}
