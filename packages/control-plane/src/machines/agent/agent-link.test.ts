import { create } from "@bufbuild/protobuf";
import { afterEach, expect, it, vi } from "vitest";
import { ServeRequestSchema } from "@zfsilo/api";
import { AgentLink } from "./agent-link.ts";

afterEach(() => { vi.useRealTimers(); });

it.each([["forward", 86_400_000], ["back", -86_400_000]])("does not take a clock that is set %s for silence or for a sign of life", async (_, shiftMs) => {
  const link = new AgentLink({ host: "hst_take" } as never);
  link.receive(create(ServeRequestSchema, {}));
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + shiftMs });
  expect(link.silentMs).toBeLessThan(1_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(link.silentMs).toBeGreaterThan(40);
});
