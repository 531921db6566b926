import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { compressedFlag, createAsyncIterable, encodeEnvelope, readAllBytes, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, createEndStreamSerialization, endStreamFlag, errorFromJsonBytes, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse } from "@connectrpc/connect/protocol-grpc-web";
import { errorInfo } from "./error-map.ts";

export type Protocol = "grpc" | "grpc-web" | "connect-stream" | "connect";

/** By the content type of the request. What is no protocol at all gets JSON, as people with curl can read it. */
export function protocolOf(contentType: string): Protocol {
  if (/^application\/grpc-web\b/i.test(contentType)) return "grpc-web";
  if (/^application\/grpc\b/i.test(contentType)) return "grpc";
  return /^application\/connect\+/i.test(contentType) ? "connect-stream" : "connect";
}

/**
 * An error as the whole answer, in the caller's protocol; no message was read for it. The error's metadata become headers.
 * `status` is for Connect, whose clients read the code from the body and take any status of 400 and above.
 */
export function refusal(error: ConnectError, protocol: Protocol, contentType: string, status?: number): UniversalServerResponse {
  const header = new Headers(error.metadata);
  switch (protocol) {
    case "grpc":
      // Not "Trailers-only": for that the stream must end with its headers, which node:http2 does not do once they are written. grpc-js
      // takes a status in headers that do not end the stream for none, and tells INTERNAL.
      return { status: 200, header: new Headers({ "content-type": contentType }), trailer: withStatus(header, error) };
    case "grpc-web":
      // "Trailers-only": the status stands in the headers and nothing follows.
      header.set("content-type", contentType);
      return { status: 200, header: withStatus(header, error) };
    case "connect-stream": {
      header.set("content-type", contentType);
      const data = createEndStreamSerialization(undefined).serialize({ metadata: new Headers(), error });
      return { status: 200, header, body: createAsyncIterable([encodeEnvelope(endStreamFlag, data)]) };
    }
    case "connect": {
      const body = errorToJsonBytes(error, undefined);
      header.set("content-type", "application/json");
      header.set("content-length", String(body.byteLength));
      return { status: status ?? codeToHttpStatus(error.code), header, body: createAsyncIterable([body]) };
    }
  }
}

/** setTrailerStatus appends the error's metadata, which are in `header` already. */
function withStatus(header: Headers, error: ConnectError): Headers {
  for (const [name, value] of setTrailerStatus(new Headers(), error)) header.set(name, value);
  return header;
}

const byStatus: Readonly<Record<number, readonly [Code, string, string]>> = {
  404: [Code.Unimplemented, "UNKNOWN_METHOD", "there is no such method"],
  405: [Code.Unimplemented, "METHOD_NOT_ALLOWED", "calls are made with POST"],
  415: [Code.InvalidArgument, "UNSUPPORTED_CONTENT_TYPE", "the content type is none of those for this method: application/json, application/proto, application/grpc, application/grpc-web"],
  505: [Code.Unimplemented, "HTTP_VERSION_NOT_SUPPORTED", "streams in both directions need HTTP/2"],
};

/** The error that an HTTP status without a body stands for. */
export function errorOfStatus(status: number): ConnectError {
  const [code, reason, message] = byStatus[status] ?? [Code.Internal, "INTERNAL", "internal error"];
  return new ConnectError(message, code, undefined, [errorInfo(reason)]);
}

/** The error in an answer that connect-node made before any of our code ran; undefined when it holds none. */
export async function errorIn(answer: UniversalServerResponse, protocol: Protocol): Promise<ConnectError | undefined> {
  if (answer.status !== 200 && answer.body === undefined) return errorOfStatus(answer.status);
  switch (protocol) {
    case "grpc":
      return findTrailerError(answer.trailer ?? new Headers());
    case "grpc-web":
      return errorInTrailerFrame(answer);
    case "connect":
      return answer.status === 200 ? undefined : errorInBody(answer);
    case "connect-stream":
      return undefined;
  }
}

async function errorInBody({ header, body }: UniversalServerResponse): Promise<ConnectError> {
  const bytes = await readAllBytes(body ?? createAsyncIterable([]), maxAnswerBytes);
  const plain = await inflated(bytes, header?.get("content-encoding"));
  return errorFromJsonBytes(plain, undefined, new ConnectError("the message could not be read", Code.InvalidArgument));
}

/** An envelope: one byte of flags, four of length, the data (gRPC-Web, "trailers are the last frame of the body"). */
async function errorInTrailerFrame({ header, body }: UniversalServerResponse): Promise<ConnectError | undefined> {
  const frame = await readAllBytes(body ?? createAsyncIterable([]), maxAnswerBytes);
  const flags = frame[0] ?? 0;
  if ((flags & trailerFlag) === 0) return undefined;
  const data = frame.subarray(5);
  const plain = (flags & compressedFlag) === 0 ? data : await inflated(data, header?.get("grpc-encoding"));
  return findTrailerError(trailerParse(plain));
}

/** More than any text of a parser that read a message within its limit. */
const maxAnswerBytes = 4 << 20;

function inflated(bytes: Uint8Array, encoding: string | null | undefined): Uint8Array | Promise<Uint8Array> {
  const compression = [compressionGzip, compressionBrotli].find(({ name }) => name === encoding);
  return compression === undefined ? bytes : compression.decompress(new Uint8Array(bytes), maxAnswerBytes);
}
