import type { VolumeMode } from "@zfsilo/api";
import { bringUp, type Machine, type Machines } from "@zfsilo/microvm";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { output, realHosts, traces } from "./real-hosts.ts";
import { startSystem, type System, type SystemOptions } from "./system.ts";

export const give = "hosts/hst_give";
export const take = "hosts/hst_take";
export const mib = 1n << 20n;

/** Fresh give and take with a control plane over ssh, for one test file. Usable inside its tests and hooks. */
export interface RealWorld {
  readonly machines: Machines;
  readonly system: System;
  readonly create: (id: string, mode: VolumeMode, options?: { capacityBytes?: bigint; fsType?: string }) => Promise<string>;
  /** Publishes and connects; returns the device on that host. */
  readonly connect: (name: string, host?: string) => Promise<string>;
  /** Disconnects from each host, unpublishes, deletes. */
  readonly takeDown: (name: string, hosts?: readonly string[]) => Promise<void>;
}

/** The image makes an initiator of take alone, and both machines have its name: give gets a name and an iscsid of its own. */
async function makeInitiator(machine: Machine): Promise<void> {
  const script = [
    "echo InitiatorName=iqn.2026-01.io.zfsilo.vm:give > /etc/iscsi/initiatorname.iscsi",
    "mkdir -p /etc/systemd/system/iscsid.service.d",
    "printf '[Unit]\\nConditionHost=\\n' > /etc/systemd/system/iscsid.service.d/zz-second-initiator.conf",
    "systemctl daemon-reload && systemctl restart iscsid && modprobe iscsi_tcp",
  ];
  await output(machine, "sh", "-ec", script.join("\n"));
}

/** Brings the world up before the file's tests, and asserts after each one that it left no trace on any machine. */
export function useRealWorld(instance: string, options: Pick<SystemOptions, "reconcileSeconds"> = {}): RealWorld {
  let machines: Machines;
  let system: System;
  let before: string[];

  beforeAll(async () => {
    const log = (line: string): void => {
      console.log(line);
    };
    machines = await bringUp({ instance, log, signal: new AbortController().signal });
    await makeInitiator(machines.give);
    system = await startSystem({ hosts: realHosts(machines), ...options });
  });
  afterAll(async () => {
    await system.stop();
    await machines.stop();
  });
  beforeEach(async () => {
    before = await traces(machines);
  });
  afterEach(async () => {
    expect(await traces(machines)).toEqual(before);
    expect((await system.volumes.listVolumes({})).volumes).toEqual([]);
  });

  return {
    get machines() {
      return machines;
    },
    get system() {
      return system;
    },
    create: async (id, mode, { capacityBytes = 256n * mib, fsType } = {}) => {
      const filesystem = fsType === undefined ? {} : { filesystem: { type: fsType } };
      const { volume } = await system.volumes.createVolume({
        volumeId: id,
        volume: { host: give, capacityBytes, mode, ...filesystem },
      });
      return volume?.name ?? "";
    },
    connect: async (name, host = take) => {
      await system.volumes.publishVolume({ name });
      const { volume } = await system.volumes.connectVolume({ name, host });
      return volume?.attachments.find((attachment) => attachment.host === host)?.device ?? "";
    },
    takeDown: async (name, hosts = [take]) => {
      for (const host of hosts) await system.volumes.disconnectVolume({ name, host });
      await system.volumes.unpublishVolume({ name });
      await system.volumes.deleteVolume({ name });
    },
  };
}
