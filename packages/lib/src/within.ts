/** Aborts after so many milliseconds, or when one of the signals does. */
export function within(timeoutMs: number, ...signals: readonly AbortSignal[]): AbortSignal {
  const time = AbortSignal.timeout(timeoutMs);
  // A timeout that only AbortSignal.any listens to is collected as garbage, and never fires (Node 20.20; nodejs/node#57736).
  time.addEventListener("abort", () => undefined);
  return AbortSignal.any([time, ...signals]);
}
