import type { HostId } from "@zfsilo/lib";
import { requestDisconnect } from "./connect.ts";
import type { RequestDeps } from "./volume-requests.ts";

/** Fences that are under way at once. */
const atOnce = 8;

/**
 * Forces a machine that will never return off every volume, also off those that a call was just connecting. Ends when it has none; throws
 * at the first that cannot be fenced, and made again it goes on with the rest.
 */
export async function evictHost(deps: RequestDeps, host: HostId): Promise<void> {
  for (;;) {
    const { attached } = await deps.volumes.namesOn(host, atOnce);
    if (attached.length === 0) return;
    await Promise.all(attached.map((id) => requestDisconnect(deps, id, host, true)));
  }
}
