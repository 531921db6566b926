import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import { file_google_protobuf_wrappers, FileDescriptorProtoSchema, type StringValueSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { BugError } from "@zfsilo/lib";
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";

type EchoService = GenService<{
  echo: { methodKind: "unary"; input: typeof StringValueSchema; output: typeof StringValueSchema };
}>;

export interface Echo extends AsyncDisposable {
  /** One call there and back. */
  readonly call: () => Promise<unknown>;
}

/** As long as the names that calls on volumes carry. */
const text = "volumes/vol_k3x7m2qd5tzw4hbn";

/** The yardstick: what a call costs that does nothing, on a server and over a transport of the same kind as the API's. */
export async function startEcho(): Promise<Echo> {
  const service = describe();
  const server = http2.createServer(
    connectNodeAdapter({ routes: (router) => void router.service(service, { echo: ({ value }) => ({ value }) }) }),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = createClient(service, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
  return {
    async call() {
      const { value } = await client.echo({ value: text });
      if (value !== text) throw new BugError(`the echo of ${text} is ${value}`);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

function describe(): EchoService {
  const value = ".google.protobuf.StringValue";
  const file = create(FileDescriptorProtoSchema, {
    name: "zfsilo/bench/echo.proto",
    package: "zfsilo.bench",
    syntax: "proto3",
    dependency: [file_google_protobuf_wrappers.proto.name],
    service: [{ name: "EchoService", method: [{ name: "Echo", inputType: value, outputType: value }] }],
  });
  const service = createFileRegistry(file, () => file_google_protobuf_wrappers).getService("zfsilo.bench.EchoService");
  if (service === undefined) throw new BugError("the description of the echo service lacks the service");
  return service as EchoService;
}
