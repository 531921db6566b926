import { create } from "@bufbuild/protobuf";
import { csi } from "@zfsilo/api";
import { parseCapabilities } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { hostName } from "../names.ts";
import { parseParameters, type VolumeParameters } from "./parameters.ts";

/** Space for new volumes of one class: all pools together, and the one with most for a single volume. */
export async function getCapacity(
  controlPlane: ControlPlane,
  request: csi.GetCapacityRequest,
  signal: AbortSignal,
): Promise<csi.GetCapacityResponse> {
  if (request.volumeCapabilities.length > 0) parseCapabilities(request.volumeCapabilities);
  const parameters = parseParameters(request.parameters, {});
  const host = parameters.host === "" ? "" : hostName(parameters.host);
  const [{ pools }, eligible] = await Promise.all([
    controlPlane.server.getCapacity({ host, pool: parameters.pool }, { signal }),
    labelledHosts(controlPlane, parameters, signal),
  ]);
  const sizes = pools.filter((pool) => eligible?.has(pool.host) ?? true).map(({ availableBytes }) => availableBytes);
  return create(csi.GetCapacityResponseSchema, {
    availableCapacity: sizes.reduce((sum, size) => sum + size, 0n),
    maximumVolumeSize: sizes.reduce((most, size) => (size > most ? size : most), 0n),
  });
}

/** Names of the hosts that have all labels; undefined when none is asked for. */
async function labelledHosts(
  { hosts }: ControlPlane,
  { hostLabels }: VolumeParameters,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  const labels = Object.entries(hostLabels);
  if (labels.length === 0) return undefined;
  const names = new Set<string>();
  let pageToken = "";
  do {
    const page = await hosts.listHosts({ pageSize: 1000, pageToken }, { signal });
    for (const host of page.hosts) if (labels.every(([key, value]) => host.labels[key] === value)) names.add(host.name);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return names;
}
