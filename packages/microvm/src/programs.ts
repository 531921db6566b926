import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeDiskImage } from "./disk-image.ts";
import { mustExec, type Machine } from "./machine.ts";
import { mustRun } from "./run-tool.ts";

/** Lays out what runs of one package of this checkout, as the images have it. */
const assemble = fileURLToPath(new URL("../../csi/deploy/images/assemble", import.meta.url));

/** Where machines have Node.js and zfsilo: what the image of the CSI driver holds, with the agent in it. */
export const programs = {
  node: "/opt/zfsilo/bin/node",
  agent: "/opt/zfsilo/packages/agent/dist/main.js",
  csi: "/opt/zfsilo/packages/csi/dist/main.js",
} as const;

const serial = "zfsilo-programs";

/** A disk with the programs of this checkout, as it was built, for as long as the machines run that have it. */
export interface ProgramDisk {
  plugInto(machine: Machine): Promise<void>;
  remove(): Promise<void>;
}

/** `others`: programs that machines have in /opt/zfsilo/bin besides, by name there. */
export async function makeProgramDisk(others: Readonly<Record<string, string>> = {}): Promise<ProgramDisk> {
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-programs-"));
  const content = join(directory, "content");
  const limit = { signal: AbortSignal.timeout(600_000) };
  await mustRun("lay out zfsilo's programs", ["sh", assemble, "csi", content], limit);
  await mkdir(join(content, "bin"));
  for (const [name, file] of Object.entries({ ...others, node: process.execPath })) await copyFile(file, join(content, "bin", name));
  const file = join(directory, "disk.img");
  await makeDiskImage(content, file, limit);
  await rm(content, { recursive: true });
  return {
    async plugInto(machine) {
      await machine.plugDisk(file, serial);
      const device = `/dev/disk/by-id/virtio-${serial}`;
      // Mounted again after a power cut; not waited for at boot, since udev may find it late.
      const script = [
        "mkdir -p /opt/zfsilo",
        `echo '${device} /opt/zfsilo ext4 ro,nofail 0 0' >> /etc/fstab`,
        `i=0; until [ -e ${device} ]; do i=$((i+1)); [ $i -lt 300 ] || { echo 'no ${device}' >&2; exit 1; }; sleep 0.1; done`,
        "systemctl daemon-reload",
        "mount /opt/zfsilo",
      ];
      await mustExec(machine, ["sh", "-ec", script.join("\n")]);
    },
    async remove() {
      await rm(directory, { recursive: true, force: true });
    },
  };
}
