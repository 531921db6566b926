import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, HelpSchema } from "@zfsilo/api";
import { invalidField, reasons, StorageError, wrapError, type Reason } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { toConnectError } from "./error-map.ts";

const codes: Record<Reason, Code> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  no_space: Code.ResourceExhausted,
  busy: Code.FailedPrecondition,
  has_dependents: Code.FailedPrecondition,
  precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  unavailable: Code.Unavailable,
  timeout: Code.DeadlineExceeded,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
};

describe("what a caller sees of a failure", () => {
  it.each(reasons)("%s has its code and its reason", (reason) => {
    const error = toConnectError(new StorageError(reason, "doing a thing"), "r1");
    expect(error.code).toBe(codes[reason]);
    expect(error.rawMessage).toBe("doing a thing");
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: reason.toUpperCase(), domain: "zfsilo", metadata: {} }]);
  });

  it("a more exact reason wins over the general one, and is not told twice", () => {
    const details = { reason: "REVISION_MISMATCH", revision: "4" };
    const error = toConnectError(new StorageError("aborted", "m", { details }), "r1");
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "REVISION_MISMATCH", metadata: { revision: "4" } }]);
  });

  it("a bad field and a hint have details of their own", () => {
    const error = toConnectError(invalidField("volume.capacity_bytes", "is negative", "Give a size."), "r1");
    expect(error.findDetails(BadRequestSchema)).toMatchObject([
      { fieldViolations: [{ field: "volume.capacity_bytes", description: "volume.capacity_bytes: is negative" }] },
    ]);
    expect(error.findDetails(HelpSchema)).toMatchObject([{ links: [{ description: "Give a size." }] }]);
  });

  it("the chain is told as far as it is ours", () => {
    const root = new Error("connect ECONNREFUSED with a password in it");
    const inner = new StorageError("unavailable", "run zfs on give", { cause: root });
    const error = toConnectError(wrapError("volume.create volumes/a: create zvol", inner, { operation: "operations/op_a" }), "r1");
    expect(error.rawMessage).toBe("volume.create volumes/a: create zvol: run zfs on give");
    expect(error.findDetails(ErrorInfoSchema)[0]!.metadata).toEqual({ operation: "operations/op_a" });
  });

  it("an internal error says where to look", () => {
    const error = toConnectError(new StorageError("internal", "open the secrets", { cause: new Error("hidden") }), "r1");
    expect(error.rawMessage).toBe("open the secrets (see the server log, request id r1)");
  });

  it.each([new Error("hidden"), new TypeError("hidden"), "hidden", undefined, { hidden: 1 }])("nothing is told of %s", (thrown) => {
    const error = toConnectError(thrown, "r1");
    expect(error).toMatchObject({ code: Code.Internal, rawMessage: "internal error; see the server log, request id r1" });
  });

  it("what is an error of ours already passes", () => {
    const error = toConnectError(new StorageError("busy", "a"), "r1");
    expect(toConnectError(error, "r1")).toBe(error);
  });

  it.each([
    ["too large", Code.ResourceExhausted, Code.ResourceExhausted, "MESSAGE_TOO_LARGE"],
    ["parse binary: premature EOF", Code.Internal, Code.InvalidArgument, "INVALID_ARGUMENT"],
    ["decompression failed", Code.Internal, Code.InvalidArgument, "INVALID_ARGUMENT"],
    ["something else", Code.Internal, Code.Internal, "INTERNAL"],
    ["unknown compression", Code.Unimplemented, Code.Unimplemented, "UNIMPLEMENTED"],
  ])("the library's own refusal %j gets details", (message, thrown, code, reason) => {
    const error = toConnectError(new ConnectError(message, thrown, { "x-a": "b" }), "r1");
    expect(error).toMatchObject({ code, rawMessage: message });
    expect(error.metadata.get("x-a")).toBe("b");
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason, domain: "zfsilo" }]);
  });

  it("what a caller gave comes back short", () => {
    const long = "9".repeat(100_000);
    for (const thrown of [invalidField(`labels.${long}`, `is ${long}`), new ConnectError(`invalid uint64: ${long}`, Code.InvalidArgument)]) {
      const error = toConnectError(thrown, "r1");
      expect(JSON.stringify([error.rawMessage, error.findDetails(ErrorInfoSchema), error.findDetails(BadRequestSchema)]).length).toBeLessThan(2_500);
    }
    expect(toConnectError(invalidField("a", "word ".repeat(10_000)), "r1").rawMessage.length).toBeLessThan(2_100);
  });

  it("a circular chain ends", () => {
    const error = new StorageError("busy", "a");
    Object.defineProperty(error, "cause", { value: error });
    expect(toConnectError(error, "r1").rawMessage).toMatch(/^a(: a)+$/);
  });
});
