/**
 * Yields once at the beginning, and again after `subscribe`'s listener was called, until a signal aborts. Changes that come
 * while the consumer is busy are one: it reads the state as it is then, so nothing queues up for a slow reader.
 */
export async function* changes(
  subscribe: (changed: () => void) => () => void,
  signals: readonly AbortSignal[],
): AsyncGenerator<void> {
  const signal = AbortSignal.any([...signals]);
  let pending = true;
  let wake = (): void => undefined;
  const notify = (): void => {
    pending = true;
    wake();
  };
  const onAbort = (): void => {
    wake();
  };
  const unsubscribe = subscribe(notify);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (!signal.aborted) {
      if (pending) {
        pending = false;
        yield;
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (signal.aborted) resolve();
      });
    }
  } finally {
    unsubscribe();
    signal.removeEventListener("abort", onAbort);
  }
}
