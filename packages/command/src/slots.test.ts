import { describe, expect, it } from "vitest";
import { Slots } from "./slots.ts";

const never = new AbortController().signal;

describe("Slots", () => {
  it("lets as many in as there are places, and the others in order", async () => {
    const slots = new Slots(2);
    const order: number[] = [];
    const enter = (index: number) => slots.acquire(never).then(() => order.push(index));
    const all = [enter(0), enter(1), enter(2), enter(3)];
    await Promise.all(all.slice(0, 2));
    expect(order).toEqual([0, 1]);
    slots.release();
    await all[2];
    expect(order).toEqual([0, 1, 2]);
    slots.release();
    await all[3];
    expect(order).toEqual([0, 1, 2, 3]);
  });

  it("loses no place to one who gave up waiting", async () => {
    const slots = new Slots(1);
    await slots.acquire(never);
    const abort = new AbortController();
    const impatient = slots.acquire(abort.signal);
    const patient = slots.acquire(never);
    abort.abort(new Error("enough"));
    await expect(impatient).rejects.toThrow("enough");
    slots.release();
    await patient;
    await expect(slots.acquire(AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
    slots.release();
    await slots.acquire(never);
  });

  it("sends everyone away who waits, but nobody who is in", async () => {
    const slots = new Slots(1);
    await slots.acquire(never);
    const waiting = [slots.acquire(never), slots.acquire(never)];
    slots.refuseWaiting(new Error("gone"));
    for (const one of waiting) await expect(one).rejects.toThrow("gone");
    slots.release();
    await slots.acquire(never);
  });
});
