import { setTimeout as sleep } from "node:timers/promises";

const graceMs = 2_000;
/** A process in uninterruptible sleep outlives KILL for as long as its device hangs; nobody can wait for that. */
const killWaitMs = 1_000;
const pollMs = 20;

/** Ends every process of a group on this machine: TERM, a grace period, then KILL. Returns when they are gone, or hang. */
export async function endProcessGroup(group: number): Promise<void> {
  if (!signalGroup(group, "SIGTERM")) return;
  if (await gone(group, graceMs)) return;
  signalGroup(group, "SIGKILL");
  await gone(group, killWaitMs);
}

async function gone(group: number, waitMs: number): Promise<boolean> {
  for (let waited = 0; waited < waitMs; waited += pollMs) {
    if (!signalGroup(group, 0)) return true;
    await sleep(pollMs);
  }
  return false;
}

/** False when no process of the group is left. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false;
  }
}
