import type { VolumeMode } from "@zfsilo/api";
import { bringUp, makeProgramDisk, type GuestProgram, type Machine, type Machines, type ProgramDisk } from "@zfsilo/microvm";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { startAgentOn } from "../agent/agents.ts";
import { startDriverOn, type GuestDriver } from "../csi/guest-driver.ts";
import { output, realHosts, traces, type Reach } from "./real-hosts.ts";
import { startSystem, type System, type SystemOptions } from "./system.ts";

export const give = "hosts/hst_give";
export const take = "hosts/hst_take";
export const mib = 1n << 20n;

/** Fresh give and take with a control plane, for one test file. Usable inside its tests and hooks. */
export interface RealWorld {
  readonly machines: Machines;
  readonly system: System;
  /** With `reach` agent. */
  readonly agents: Agents;
  /** Take's, with `reach` driver. */
  readonly driver: GuestDriver;
  readonly create: (id: string, mode: VolumeMode, options?: { capacityBytes?: bigint; fsType?: string }) => Promise<string>;
  /** Publishes and connects; returns the device on that host. */
  readonly connect: (name: string, host?: string) => Promise<string>;
  /** Disconnects from each host, unpublishes, deletes. */
  readonly takeDown: (name: string, hosts?: readonly string[]) => Promise<void>;
}

export interface Agents {
  readonly give: GuestProgram;
  readonly take: GuestProgram;
}

export interface RealWorldOptions extends Pick<SystemOptions, "reconcileSeconds"> {
  /** Default ssh. */
  readonly reach?: Reach;
  /** With `reach` driver: more of them. By default they let it mount below /mnt. */
  readonly driverFlags?: readonly string[];
  /** What else the machines are to run, for agents and drivers: as in makeProgramDisk. Built before they start. */
  readonly programs?: () => Promise<Readonly<Record<string, string>>>;
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
export function useRealWorld(instance: string, { reach = "ssh", driverFlags, programs, ...options }: RealWorldOptions = {}): RealWorld {
  let machines: Machines;
  let system: System;
  let disk: ProgramDisk | undefined;
  let onGive: GuestProgram | undefined;
  let onTake: GuestProgram | undefined;
  let driver: GuestDriver | undefined;
  let before: string[];

  beforeAll(async () => {
    const log = (line: string): void => {
      console.log(line);
    };
    const others = await programs?.();
    machines = await bringUp({ instance, log, signal: new AbortController().signal });
    await makeInitiator(machines.give);
    system = await startSystem({ hosts: realHosts(machines, reach), ...options });
    if (reach === "ssh") return;
    disk = await makeProgramDisk(others);
    await Promise.all([disk.plugInto(machines.give), disk.plugInto(machines.take)]);
    const startTake = async (): Promise<void> => {
      if (reach === "driver") driver = await startDriverOn(machines.take, "take", system, driverFlags);
      else onTake = await startAgentOn(machines.take, take, system);
    };
    const startGive = async (): Promise<void> => {
      onGive = await startAgentOn(machines.give, give, system);
    };
    await Promise.all([startGive(), startTake()]);
  });
  afterAll(async () => {
    await system.stop();
    await Promise.all([onGive?.cut(), onTake?.cut(), driver?.stop()]);
    await machines.stop();
    await disk?.remove();
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
    get agents() {
      if (onGive === undefined || onTake === undefined) throw new Error("the machines are not reached by agents");
      return { give: onGive, take: onTake };
    },
    get driver() {
      if (driver === undefined) throw new Error("take is not reached by a driver");
      return driver;
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
