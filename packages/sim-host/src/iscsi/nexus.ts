import { groupAt, groupOf, isEnabled, portalText } from "../lio/view.ts";
import type { Machine } from "../machine.ts";
import type { SessionDoc } from "../model.ts";
import { admit } from "./admission.ts";

/** The living connection between an initiator's session and a target, seen from both ends. */

export interface Nexus {
  readonly machine: string;
  readonly session: number;
}

/** One level below the target, so that all of a target's are found at once. */
const nexusKey = (target: Machine, iqn: string, initiator: string, nexus: Nexus): string =>
  target.at(`${iqn}/${initiator}|${nexus.machine}.${nexus.session}`);

export function addNexus(target: Machine, iqn: string, initiator: string, nexus: Nexus): void {
  target.model.nexuses.put(nexusKey(target, iqn, initiator, nexus), { ...nexus });
}

export function removeNexus(target: Machine, iqn: string, initiator: string, nexus: Nexus): void {
  target.model.nexuses.delete(nexusKey(target, iqn, initiator, nexus));
}

/** Sessions of an initiator at a target that are alive at this moment, as the target sees them. */
export function sessionsOf(target: Machine, iqn: string, initiator?: string): readonly Nexus[] {
  return entries(target, iqn, initiator).filter(
    (nexus) => liveSession(target.peer(nexus.machine), nexus.session)?.state === "LOGGED_IN",
  );
}

function entries(target: Machine, iqn: string, initiator?: string): readonly Nexus[] {
  const key = target.at(iqn);
  return target.model.nexuses
    .children(key)
    .filter((name) => initiator === undefined || name.slice(0, name.indexOf("|")) === initiator)
    .flatMap((name) => target.model.nexuses.get(`${key}/${name}`) ?? []);
}

/** The target ends the sessions of one initiator, or of all that are connected to the target. */
export function dropSessions(target: Machine, iqn: string, initiator?: string): void {
  for (const nexus of entries(target, iqn, initiator)) {
    const session = target.model.sessions.edit(`${nexus.machine}/${nexus.session}`);
    if (session === undefined) continue;
    session.state = "FAILED";
    removeNexus(target, iqn, session.initiator, nexus);
  }
}

/**
 * A session as it is now. It fails when its target cannot be reached at its address or has dropped it; a failed one logs in again
 * with what it was made from as soon as the target listens there and would let it in, as iscsid does within seconds. Time is not modelled: a failed
 * session's disks give EIO at once, as if its replacement timeout had passed.
 */
export function liveSession(machine: Machine, sid: number): SessionDoc | undefined {
  const key = machine.at(String(sid));
  const found = machine.model.sessions.get(key);
  if (found === undefined) return undefined;
  const there = machine.peerAt(found.address);
  const target = there?.name === found.peer ? there : undefined;
  const group = target === undefined ? undefined : groupOf(target, found.target, found.tpgt);
  const up = target !== undefined && group !== undefined && isEnabled(group);
  if (found.state === "LOGGED_IN" && up) return found;
  if (found.state === "FAILED" && (!up || !mayReturn(target, found))) return found;
  const session = machine.model.sessions.edit(key);
  if (session === undefined) return undefined;
  session.state = up ? "LOGGED_IN" : "FAILED";
  const nexus = { machine: machine.name, session: sid };
  if (target !== undefined && up) addNexus(target, found.target, found.initiator, nexus);
  else removeNexus(machine.peer(found.peer), found.target, found.initiator, nexus);
  return session;
}

function mayReturn(target: Machine, session: SessionDoc): boolean {
  const group = groupAt(target, session.target, portalText(session.address, session.port));
  return group !== undefined && admit(group.node, session.initiator, session.credentials) === undefined;
}
