import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bringUp, initiatorName, poolName, type Machine, type Machines } from "@zfsilo/microvm";

const signal = new AbortController().signal;
let machines: Machines;

beforeAll(async () => {
  machines = await bringUp({ instance: "microvm-e2e", signal, log: (line) => process.stderr.write(`${line}\n`) });
});
afterAll(() => machines.stop());

async function output(machine: Machine, ...argv: [string, ...string[]]): Promise<string> {
  const result = await machine.exec(argv);
  expect(result, argv.join(" ")).toMatchObject({ code: 0 });
  return result.stdout.trim();
}

/** Milliseconds between this machine's clock and the guest's, less half of what asking took. */
async function clockError(machine: Machine): Promise<number> {
  const before = Date.now();
  const guest = Number(await output(machine, "date", "+%s%3N"));
  const after = Date.now();
  return guest < before ? before - guest : Math.max(0, guest - after);
}

function reachesGive(): Promise<{ code: number }> {
  const connect = "exec 3<>/dev/tcp/10.9.0.2/22 && head -c 4 <&3";
  return machines.take.exec(["timeout", "5", "bash", "-c", connect]);
}

describe("restored machines", () => {
  it("have what storage needs: pool, modules, configfs, initiator", async () => {
    const { give, take } = machines;
    expect(await output(give, "zpool", "list", "-Hp", "-o", "name,health")).toBe(`${poolName}\tONLINE`);
    for (const module of ["zfs", "target_core_mod", "iscsi_target_mod", "nvmet"]) {
      expect(await output(give, "cat", `/sys/module/${module}/initstate`)).toBe("live");
    }
    expect(await output(take, "cat", "/sys/module/iscsi_tcp/initstate")).toBe("live");
    expect(await output(give, "ls", "/sys/kernel/config")).toContain("target");
    expect(await output(take, "cat", "/etc/iscsi/initiatorname.iscsi")).toBe(`InitiatorName=${initiatorName}`);
    expect(await output(take, "systemctl", "is-active", "iscsid.service")).toBe("active");
  });

  it("have this machine's clock, though they were saved long ago", async () => {
    expect(await clockError(machines.give)).toBeLessThan(2_000);
    expect(await clockError(machines.take)).toBeLessThan(2_000);
  });

  it("pass arguments through as they are", async () => {
    const odd = `a 'b' "c" $HOME \\ * ;&|\n#`;
    expect((await machines.take.exec(["printf", "%s", odd])).stdout).toBe(odd);
  });

  it("reach each other until the link is taken away", async () => {
    expect(await reachesGive()).toMatchObject({ code: 0, stdout: "SSH-" });
    await machines.give.setLink(false);
    expect((await reachesGive()).code).not.toBe(0);
    await machines.give.setLink(true);
    expect(await reachesGive()).toMatchObject({ code: 0 });
  });
});

describe("a restore", () => {
  it("forgets what was done since", async () => {
    await output(machines.give, "zfs", "create", "-s", "-V", "64M", `${poolName}/made`);
    await output(machines.take, "touch", "/root/made");
    await machines.restore();
    expect(await output(machines.give, "zfs", "list", "-Ho", "name", "-r", poolName)).toBe(poolName);
    expect((await machines.take.exec(["test", "-e", "/root/made"])).code).toBe(1);
  });
});

describe("a power cut", () => {
  it("loses memory and keeps what was on disk", async () => {
    await output(machines.give, "zfs", "create", "-V", "64M", `${poolName}/kept`);
    await output(machines.give, "zpool", "sync", poolName);
    await output(machines.give, "touch", "/run/lost");
    const boot = await output(machines.give, "cat", "/proc/sys/kernel/random/boot_id");
    await machines.give.reset();
    expect(await output(machines.give, "cat", "/proc/sys/kernel/random/boot_id")).not.toBe(boot);
    expect((await machines.give.exec(["test", "-e", "/run/lost"])).code).toBe(1);
    expect(await output(machines.give, "zfs", "get", "-Hpo", "value", "volsize", `${poolName}/kept`)).toBe("67108864");
    expect(await output(machines.give, "ls", "-L", `/dev/zvol/${poolName}/kept`)).not.toBe("");
  });
});

describe("two pairs", () => {
  it("run side by side and do not meet", async () => {
    const other = await bringUp({ instance: "microvm-e2e-other", signal, log: () => undefined });
    try {
      await output(other.give, "zfs", "create", "-s", "-V", "64M", `${poolName}/other`);
      expect((await machines.give.exec(["zfs", "list", `${poolName}/other`])).code).toBe(1);
      await other.give.setLink(false);
      expect(await reachesGive()).toMatchObject({ code: 0 });
    } finally {
      await other.stop();
    }
  });

  it("cannot share a name", async () => {
    await expect(bringUp({ instance: "microvm-e2e", signal, log: () => undefined })).rejects.toMatchObject({
      reason: "already_exists",
    });
  });
});
