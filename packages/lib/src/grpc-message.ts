import type { OutgoingHttpHeaders } from "node:http";

const messageHeader = "grpc-message";

/**
 * A status message for a header (grpc/doc/PROTOCOL-HTTP2.md, "Status-Message"): bytes outside 0x20 to 0x7E and `%` become `%XX`,
 * and nothing else does. Clients differ in how they decode: grpc-js takes decodeURI, which leaves `%3A` and `%2C` as they are.
 */
export function encodeGrpcMessage(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) =>
    [...Buffer.from(part)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

type Trailers = OutgoingHttpHeaders | readonly [string, string][];

/** Array.isArray does not tell read-only arrays (microsoft/TypeScript#17002). */
function isPairs(trailers: Trailers): trailers is readonly [string, string][] {
  return Array.isArray(trailers);
}

/** A response of node:http or node:http2, as far as it is needed here. */
interface WithTrailers {
  addTrailers(trailers: Trailers): void;
}

/** connect-node percent-encodes every character that a URL may not hold. From here on this response says it as gRPC does. */
export function sendReadableMessages(response: WithTrailers): void {
  const add = response.addTrailers.bind(response);
  response.addTrailers = (trailers) => {
    if (isPairs(trailers)) {
      add(trailers);
      return;
    }
    const message = trailers[messageHeader];
    add(typeof message === "string" ? { ...trailers, [messageHeader]: encodeGrpcMessage(decodeURIComponent(message)) } : trailers);
  };
}
