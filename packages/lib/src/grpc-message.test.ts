import type { OutgoingHttpHeaders } from "node:http";
import { expect, it } from "vitest";
import { encodeGrpcMessage, sendReadableMessages } from "./grpc-message.ts";

it.each([
  ["volume.capacity_bytes: 5, not 4 (a/b)? #1", "volume.capacity_bytes: 5, not 4 (a/b)? #1"],
  ["50 % of 100%", "50 %25 of 100%25"],
  ["%3A", "%253A"],
  ["ü\n\u{1f600}\x7f", "%C3%BC%0A%F0%9F%98%80%7F"],
  // Half a surrogate pair: encodeURIComponent throws.
  ["a\ud800b", "a%EF%BF%BDb"],
])("writes %j as %j", (text, encoded) => {
  expect(encodeGrpcMessage(text)).toBe(encoded);
  expect(decodeURIComponent(encoded)).toBe(text.replace("\ud800", "\ufffd"));
});

it("changes the message of a response and no other trailer", () => {
  const sent: unknown[] = [];
  const response = { addTrailers: (trailers: OutgoingHttpHeaders | readonly [string, string][]) => void sent.push(trailers) };
  sendReadableMessages(response);
  response.addTrailers({ "grpc-status": "3", "grpc-message": encodeURIComponent("name: is required") });
  response.addTrailers({ "grpc-status": "0" });
  expect(sent).toEqual([{ "grpc-status": "3", "grpc-message": "name: is required" }, { "grpc-status": "0" }]);
});
