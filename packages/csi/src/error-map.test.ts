import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@zfsilo/api";
import { reasons, StorageError } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { ControlPlaneError } from "./control-plane-error.ts";
import { outOfRange, toCsiError } from "./error-map.ts";

describe("codes of the control plane", () => {
  it.each([
    [Code.InvalidArgument, Code.InvalidArgument],
    [Code.NotFound, Code.NotFound],
    [Code.AlreadyExists, Code.AlreadyExists],
    [Code.FailedPrecondition, Code.FailedPrecondition],
    [Code.ResourceExhausted, Code.ResourceExhausted],
    [Code.Aborted, Code.Aborted],
    [Code.Unavailable, Code.Unavailable],
    [Code.Internal, Code.Internal],
    // Its own limits and our own credential are no fault of the caller, who may repeat the call.
    [Code.DeadlineExceeded, Code.Unavailable],
    [Code.Unauthenticated, Code.Unavailable],
    [Code.PermissionDenied, Code.Unavailable],
    [Code.Unknown, Code.Internal],
  ])("%i is %i", (code, wanted) => {
    const cause = new ConnectError("why", code, undefined, [{ desc: ErrorInfoSchema, value: { reason: "WHY", domain: "zfsilo" } }]);
    const answer = new ControlPlaneError("CreateVolume", cause);
    // Clients put a ConnectError of code Unknown around it.
    const mapped = toCsiError(ConnectError.from(answer));
    expect(mapped.code).toBe(wanted);
    expect(mapped.rawMessage).toBe("CreateVolume: why");
  });

  it.each([Code.Internal, Code.Unknown, Code.DataLoss])("%i that it did not write is a connection that broke: the outcome is unknown", (code) => {
    const answer = new ControlPlaneError("CreateVolume", new ConnectError("Session closed with error code 2", code));
    expect(toCsiError(ConnectError.from(answer)).code).toBe(Code.Unavailable);
  });

  it("leaves the headers of the other connection behind", () => {
    const cause = new ConnectError("why", Code.NotFound, { "content-type": "application/proto" });
    expect([...toCsiError(new ControlPlaneError("GetVolume", cause)).metadata]).toEqual([]);
  });
});

describe("reasons of our own", () => {
  it.each(reasons)("%s is a code of the spec", (reason) => {
    const mapped = toCsiError(new StorageError(reason, "what"));
    expect([Code.DeadlineExceeded, Code.Unauthenticated, Code.PermissionDenied]).not.toContain(mapped.code);
    expect(mapped.rawMessage).toBe("what");
  });

  it("tells the hint in the message, which is all that Kubernetes shows", () => {
    expect(toCsiError(new StorageError("busy", "what", { hint: "Wait." })).rawMessage).toBe("what. Wait.");
  });

  it("hides the text of what is not ours", () => {
    const mapped = toCsiError(new Error("secret"));
    expect(mapped.code).toBe(Code.Internal);
    expect(mapped.rawMessage).not.toContain("secret");
  });

  it("gives back no long word of a caller's, and no long text", () => {
    const mapped = toCsiError(new StorageError("not_found", `nothing at /${"x".repeat(5000)} there`));
    expect(mapped.rawMessage).toBe(`nothing at /${"x".repeat(255)}… there`);
    expect(mapped.code).toBe(Code.NotFound);
    expect(Buffer.byteLength(toCsiError(new StorageError("busy", "held ".repeat(2000))).rawMessage)).toBeLessThanOrEqual(2048);
  });

  it("keeps OUT_OF_RANGE", () => {
    expect(toCsiError(outOfRange("too much")).code).toBe(Code.OutOfRange);
  });
});
