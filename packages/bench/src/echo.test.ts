import { expect, it } from "vitest";
import { startEcho } from "./echo.ts";

it("answers with what it was sent, and goes away", async () => {
  let call: () => Promise<unknown>;
  {
    await using echo = await startEcho();
    ({ call } = echo);
    await expect(call()).resolves.toBeUndefined();
  }
  await expect(call()).rejects.toThrow();
});
