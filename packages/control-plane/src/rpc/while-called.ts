/** Waits for work that goes on by itself (I7): a caller that goes away, or whose deadline passes, only stops waiting. */
export async function whileCalled<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let gone = (): void => undefined;
  const left = new Promise<never>((_resolve, reject) => {
    gone = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", gone, { once: true });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener("abort", gone);
  }
}
