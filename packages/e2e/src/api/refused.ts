import { ConnectError, type Code } from "@connectrpc/connect";
import { BadRequestSchema } from "@zfsilo/api";
import { expect } from "vitest";

/** The call is refused with the code, naming the field where one is given. */
export async function refused(call: Promise<unknown>, code: Code, field?: string): Promise<void> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown),
  );
  expect(error?.code, error?.message).toBe(code);
  if (field === undefined) return;
  const fields = error?.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations.map((each) => each.field));
  expect(fields, error?.message).toEqual([field]);
}
