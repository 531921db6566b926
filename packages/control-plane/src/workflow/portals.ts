import { formatPortal, parsePortal, type Portal } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { PortalRef, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/** Where a volume's host listens now. A host whose record names no portal any more leaves its exports as they are. */
export async function presentPortals({ hosts }: Pick<WorkflowDeps, "hosts">, volume: VolumeRecord): Promise<readonly PortalRef[]> {
  const { portals } = await hosts.get(volume.hostId);
  return portals.length === 0 ? volume.portals : portals;
}

/** `10.9.0.2:3260, [fd00::1]:3260`, in the order in which they are tried. */
export function textOf(portals: readonly PortalRef[]): string {
  return portals.map((portal) => formatPortal(parsePortal(portal))).join(", ");
}

export function isAmong(portals: readonly PortalRef[], { address, port }: PortalRef): boolean {
  return portals.some((portal) => portal.address === address && portal.port === port);
}

/** Those an initiator may log in at, `first` before the others when it is one of them. */
export function portalsToTry(volume: VolumeRecord, first?: PortalRef): readonly [Portal, ...Portal[]] {
  const portals = volume.portals.map((portal) => parsePortal(portal));
  const isFirst = (portal: Portal): boolean => first !== undefined && isAmong([first], portal);
  const [best, ...others] = [...portals.filter(isFirst), ...portals.filter((portal) => !isFirst(portal))];
  if (best === undefined) throw new StorageError("precondition", `volumes/${volume.id} has no portal to log in to`);
  return [best, ...others];
}
