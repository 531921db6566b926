import { create } from "@bufbuild/protobuf";
import { afterEach, expect, it, vi } from "vitest";
import { ServeRequestSchema } from "@zfsilo/api";
import { errorChain, type StorageError } from "@zfsilo/lib";
import { AgentLink, maxHeldBytes } from "./agent-link.ts";
import { PendingCommand, PendingFiles } from "./agent-request.ts";

afterEach(() => { vi.useRealTimers(); });

it.each([["forward", 86_400_000], ["back", -86_400_000]])("does not take a clock that is set %s for silence or for a sign of life", async (_, shiftMs) => {
  const link = new AgentLink({ host: "hst_take" } as never);
  link.receive(create(ServeRequestSchema, {}));
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + shiftMs });
  expect(link.silentMs).toBeLessThan(1_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(link.silentMs).toBeGreaterThan(40);
});

const read = { op: "read", path: "/sys/a" } as const;
const argv = ["read", "/sys/a"] as const;
const files = (id: bigint, data: Uint8Array) => create(ServeRequestSchema, { message: { case: "files", value: { id, data, last: false } } });

it("closes when the answers of all requests together are too large", async () => {
  const link = new AgentLink({ host: "hst_take" } as never);
  const piece = new Uint8Array(4 << 20);
  const ask = () => link.begin(new PendingFiles("hst_take", argv, [read]), (id) => ({ case: "files", value: { id } }));
  const ids = Array.from({ length: 8 }, ask);
  const rounds = maxHeldBytes / piece.length;
  for (let at = 0; at < rounds; at += 1) link.receive(files(ids[at % ids.length]!, piece));
  expect(link.alive).toBe(true);
  // What has ended counts no more.
  link.end(ids[0]!);
  link.receive(files(ids[1]!, piece));
  expect(link.alive).toBe(true);
  for (let at = 0; at < rounds; at += 1) link.receive(files(ids[1 + (at % 7)]!, piece));
  expect(link.alive).toBe(false);
  expect((await link.closed).message).toContain("bytes in all");
});

it("cuts what an agent says about a failure", async () => {
  const link = new AgentLink({ host: "hst_take" } as never);
  const pending = new PendingCommand("hst_take", ["zfs", "list"], 100);
  const id = link.begin(pending, (of) => ({ case: "command", value: { id: of } }));
  link.receive(create(ServeRequestSchema, { message: { case: "failure", value: { id, reason: "busy", message: "x".repeat(900_000), hint: "y".repeat(900_000) } } }));
  const error = await pending.result.then(() => undefined, (failure: unknown) => failure as StorageError);
  expect(errorChain(error).length).toBeLessThan(5_000);
  expect(error?.hint?.length).toBeLessThan(5_000);
});
