import type { Volume } from "@zfsilo/api";
import { isSimulated } from "../../host/simulated.ts";
import type { VolumeRecord } from "../../store/model.ts";
import type { RequestDeps } from "../../volume/volume-requests.ts";
import { volumeToMessage } from "./volume.ts";

type Deps = Pick<RequestDeps, "hosts" | "operations">;

/** What the API shows of a volume, with what works on it and what kind of host it is on. */
export async function showVolume(deps: Deps, volume: VolumeRecord): Promise<Volume> {
  const host = await deps.hosts.find(volume.hostId);
  return shown(deps, volume, host !== undefined && isSimulated(host));
}

/** A page of them, at one read of the hosts. */
export async function showVolumes(deps: Deps, volumes: readonly VolumeRecord[]): Promise<Volume[]> {
  const simulated = new Set((await deps.hosts.all()).filter(isSimulated).map(({ id }) => id));
  return volumes.map((volume) => shown(deps, volume, simulated.has(volume.hostId)));
}

function shown({ operations }: Deps, volume: VolumeRecord, simulated: boolean): Volume {
  return volumeToMessage(volume, simulated, operations.openOn(`volumes/${volume.id}`));
}
