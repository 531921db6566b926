import type { LioExport } from "@zfsilo/host";
import type { PortalRef, VolumeRecord } from "../store/model.ts";
import { isAmong, textOf } from "../workflow/portals.ts";
import type { Difference } from "./compare.ts";
import type { Observation, TargetView } from "./observation.ts";

/**
 * Where a volume is exported against where its host listens now. First the export follows the host, which disturbs no session; then
 * it ends at the portals that the host no longer has, once no session is made through them.
 */
export function comparePortals(volume: VolumeRecord, { portals }: TargetView, lio: LioExport, seen: Observation): Difference[] {
  if (portals.length === 0) return [];
  const at = { host: `hosts/${volume.hostId}`, reason: "PORTAL_OUTDATED" } as const;
  const now = textOf(portals);
  const recorded = textOf(volume.portals);
  if (now !== recorded) return [{ ...at, expected: `exported at ${now}`, observed: `at ${recorded}, and the host listens at ${now}` }];
  const old = lio.portals.filter((portal) => !isAmong(portals, portal));
  if (old.length === 0) return [];
  const users = usersOf(volume, old, seen);
  const used = users.length > 0;
  const observed = `also at ${textOf(old)}${used ? `, which ${users.join(", ")} may use` : ""}, and the host listens at ${now}`;
  return [{ ...at, expected: `exported at ${now} only`, observed, oldPortals: { portals: old, used } }];
}

/** Hosts that have a session through one of the portals, whatever its state, and those of which that is not known. */
function usersOf({ attachments, targetName }: VolumeRecord, old: readonly PortalRef[], { initiators }: Observation): string[] {
  return attachments
    .filter(({ hostId }) => {
      const view = initiators.get(hostId);
      const session = view?.sessions.get(targetName);
      return view === undefined || (session !== undefined && (session.portal === undefined || isAmong(old, session.portal)));
    })
    .map(({ hostId }) => `hosts/${hostId}`);
}
