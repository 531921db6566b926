/** Runs the works, so many at a time. The first failure ends it. */
export async function runAtOnce(works: readonly (() => Promise<unknown>)[], atOnce: number): Promise<void> {
  const queue = works.values();
  const worker = async (): Promise<void> => {
    for (const work of queue) await work();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
