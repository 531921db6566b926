import { parseDatasetName } from "@zfsilo/host";
import { parseHostId, parseVolumeId } from "@zfsilo/lib";
import { requestAdopt } from "../../src/volume/adopt.ts";
import type { World } from "../world/world.ts";
import type { WalkVolume } from "./model.ts";

const give = parseHostId("hst_give");

/** Replaces the zvol of a volume that nobody uses by a copy of itself, which has another guid, and has it adopted. */
export async function restoreFromCopy(world: World, name: WalkVolume): Promise<void> {
  const row = await world.now.stores.volumes.find(parseVolumeId(name));
  // A filesystem that was never made cannot be adopted: there is nothing to lose.
  if (row === undefined || row.published || row.filesystem?.formatted === false) return;
  const signal = new AbortController().signal;
  const executor = world.sim.executor(give);
  const zfs = async (...argv: string[]): Promise<void> => {
    const { exitCode, stderr } = await executor.run(["zfs", ...argv], { signal });
    if (exitCode !== 0) throw new Error(`zfs ${argv.join(" ")}: ${stderr}`);
  };
  const { dataset } = row;
  await zfs("rename", dataset, "tank/aside");
  await zfs("snapshot", "tank/aside@copy");
  await executor.pipe(["zfs", "send", "tank/aside@copy"], ["zfs", "receive", dataset], { signal });
  await zfs("destroy", "-r", "tank/aside");
  await zfs("destroy", `${dataset}@copy`);
  const { guid } = await (await world.requests.machines.get(give)).zfs.getVolume(parseDatasetName(dataset), { signal });
  const made = { displayName: "", labels: {}, mode: row.mode, mountOptions: [], authentication: "chap" } as const;
  await requestAdopt(world.requests, { id: row.id, hostId: give, dataset, guid, replaceMarks: false, made });
}
