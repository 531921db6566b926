import { StorageError, type Reason } from "@zfsilo/lib";

/** The reason a call is refused for; throws when it is not refused, or fails in another way. */
export async function refusal(work: Promise<unknown>): Promise<Reason> {
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (error instanceof StorageError) return error.reason;
    throw error;
  }
  throw new Error(`it was not refused, and gave ${JSON.stringify(result, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))}`);
}
