import { expect, it } from "vitest";
import { aclOperations, exportOperations, fenceOperations, GiB, login, openHosts, putRecord, removeOperations, takeName, type Hosts } from "./testing/hosts.ts";

const target = (n: number): string => `iqn.2026-01.net.example:${String(n).padStart(16, "0")}`;
const name = (n: number): string => String(n).padStart(16, "0");

async function publishMany({ give }: Hosts, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 1) {
    await give.ok("zfs", "create", "-s", "-V", "64M", `tank/${name(n)}`);
    await give.files(...exportOperations(`tank/${name(n)}`, name(n), target(n)), ...aclOperations(takeName, undefined, target(n)));
  }
}

/** Documents looked at by one life of a volume: create, publish, log in, log out, unpublish, destroy. */
async function costOfOne(hosts: Hosts, n: number): Promise<number> {
  const { world, give, take } = hosts;
  const before = world.reads;
  await publishMany(hosts, n, n + 1);
  await putRecord(take, undefined, {}, target(n));
  expect((await login(take, target(n))).exitCode).toBe(0);
  await take.ok("iscsiadm", "-m", "node", "-T", target(n), "--logout");
  await give.files({ op: "read", path: `/sys/kernel/config/target/iscsi/${target(n)}/tpgt_1/enable` });
  const fence = fenceOperations(takeName).map((operation) => ({ ...operation, path: operation.path.replace(/iqn[^/]*/, target(n)) }));
  await give.files(...fence, ...removeOperations(name(n), target(n)));
  await give.ok("zfs", "destroy", `tank/${name(n)}`);
  return world.reads - before;
}

it("does not cost more with a thousand volumes and targets, a hundred of them in use, than with ten", async () => {
  const hosts = await openHosts({}, 1024n * GiB);
  const connectMany = async (from: number, to: number): Promise<void> => {
    await publishMany(hosts, from, to);
    for (let n = from; n < to; n += 1) {
      await putRecord(hosts.take, undefined, {}, target(n));
      await login(hosts.take, target(n));
    }
  };
  await hosts.give.ok("modprobe", "target_core_mod");
  await connectMany(0, 10);
  const few = await costOfOne(hosts, 5000);
  await connectMany(10, 100);
  await publishMany(hosts, 100, 1000);
  const many = await costOfOne(hosts, 5000);
  expect(few).toBeGreaterThan(50);
  expect(many).toBeLessThanOrEqual(few * 1.02);
  await hosts.world.close();
});
