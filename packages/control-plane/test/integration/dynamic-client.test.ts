import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  status,
  type GrpcObject,
  type ServiceClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { load, loadFileDescriptorSetFromBuffer, type PackageDefinition } from "@grpc/proto-loader";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningApi, type RunningApi } from "./running-api.ts";

/** An implementation of gRPC that is not ours, and knows of the API what the server tells it: what grpcurl does. */

const protoDirectory = join(import.meta.dirname, "../../../../proto");
const options = { keepCase: true, longs: String, enums: String, defaults: true };

let api: RunningApi;
beforeEach(async () => {
  api = await runningApi();
});
afterEach(() => api[Symbol.asyncDispose]());

interface ReflectionAnswer {
  readonly valid_host: string;
  readonly list_services_response: { service: { name: string }[] } | null;
  readonly file_descriptor_response: { file_descriptor_proto: Buffer[] } | null;
  readonly all_extension_numbers_response: object | null;
  readonly error_response: { error_code: number; error_message: string } | null;
}

type Client = InstanceType<ServiceClientConstructor>;

function clientOf(definition: PackageDefinition, service: string): Client {
  let found: unknown = loadPackageDefinition(definition);
  for (const part of service.split(".")) found = (found as GrpcObject)[part];
  return new (found as ServiceClientConstructor)(api.address, credentials.createInsecure());
}

async function ask(version: "v1" | "v1alpha", ...questions: object[]): Promise<ReflectionAnswer[]> {
  const definition = await load(`grpc/reflection/${version}/reflection.proto`, { ...options, includeDirs: [protoDirectory] });
  const client = clientOf(definition, `grpc.reflection.${version}.ServerReflection`);
  try {
    const stream = (client as unknown as { ServerReflectionInfo(): NodeJS.ReadWriteStream }).ServerReflectionInfo();
    for (const question of questions) stream.write(question as unknown as string);
    stream.end();
    const answers: ReflectionAnswer[] = [];
    for await (const answer of stream) answers.push(answer as unknown as ReflectionAnswer);
    return answers;
  } finally {
    client.close();
  }
}

function call<T>(client: Client, method: string, message: object, token: string): Promise<T> {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    const methods = client as unknown as Record<string, (message: object, metadata: Metadata, done: (error: ServiceError | null, answer: T) => void) => void>;
    methods[method]!(message, metadata, (error, answer) => {
      if (error === null) resolve(answer);
      else reject(error);
    });
  });
}

/** What the reflection says about a service, as a client library reads it. */
async function learned(service: string): Promise<PackageDefinition> {
  const [answer] = await ask("v1", { file_containing_symbol: service });
  const file = answer!.file_descriptor_response!.file_descriptor_proto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  const set = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
  return loadFileDescriptorSetFromBuffer(Buffer.from(set), options);
}

describe.each(["v1", "v1alpha"] as const)("reflection %s", (version) => {
  it("lists every service", async () => {
    const [answer] = await ask(version, { host: "h", list_services: "*" });
    expect(answer!.valid_host).toBe("h");
    expect(answer!.list_services_response!.service.map(({ name }) => name)).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "zfsilo.v1.AgentService",
      "zfsilo.v1.GroupSnapshotService",
      "zfsilo.v1.HostService",
      "zfsilo.v1.OperationService",
      "zfsilo.v1.OrphanService",
      "zfsilo.v1.PoolService",
      "zfsilo.v1.Service",
      "zfsilo.v1.SnapshotService",
      "zfsilo.v1.VolumeService",
    ]);
  });

  it("answers several questions in order", async () => {
    const symbols = ["zfsilo.v1.VolumeService", "zfsilo.v1.VolumeService.GetVolume", "zfsilo.v1.Volume.capacity_bytes", "zfsilo.v1.HostRole", "google.protobuf.Timestamp"];
    const answers = await ask(
      version,
      ...symbols.map((symbol) => ({ file_containing_symbol: symbol })),
      { file_by_filename: "zfsilo/v1/volume.proto" },
      { file_containing_symbol: "zfsilo.v1.Nothing" },
      { file_by_filename: "nothing.proto" },
      { all_extension_numbers_of_type: "zfsilo.v1.Volume" },
      { file_containing_extension: { containing_type: "zfsilo.v1.Volume", extension_number: 100 } },
      {},
    );
    expect(answers.slice(0, 6).every(({ file_descriptor_response }) => file_descriptor_response !== null)).toBe(true);
    expect(answers.slice(6).map(({ error_response }) => error_response?.error_code)).toEqual([5, 5, undefined, 5, 3]);
    expect(answers[8]!.all_extension_numbers_response).toMatchObject({ base_type_name: "zfsilo.v1.Volume" });
  });
});

describe("a client that learned the API from the server", () => {
  it("creates, reads, lists and deletes a host", async () => {
    const client = clientOf(await learned("zfsilo.v1.HostService"), "zfsilo.v1.HostService");
    // This library reads a map from a descriptor as what it is on the wire: entries of key and value.
    const labels = [{ key: "rack", value: "r1" }];
    const host = { roles: ["HOST_ROLE_INITIATOR"], simulated: {}, labels };
    const created = await call<{ host: object }>(client, "CreateHost", { host_id: "hst_x", host }, api.token);
    expect(created.host).toMatchObject({ name: "hosts/hst_x", labels, revision: "1", simulated: {} });
    const listed = await call<{ hosts: object[]; next_page_token: string }>(client, "ListHosts", { filter: "labels.rack = r1" }, api.token);
    expect(listed).toMatchObject({ hosts: [created.host], next_page_token: "" });
    await call(client, "DeleteHost", { name: "hosts/hst_x" }, api.token);
    await expect(call(client, "GetHost", { name: "hosts/hst_x" }, api.token)).rejects.toMatchObject({ code: status.NOT_FOUND });
    // Its decodeURI leaves as they are what gRPC would not have encoded.
    const details = 'name: "disk: a, 50% ü" does not begin with hosts/';
    await expect(call(client, "GetHost", { name: "disk: a, 50% ü" }, api.token)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details });
    client.close();
  });

  it("is told its deadline, and refused without a token", async () => {
    const client = clientOf(await learned("zfsilo.v1.Service"), "zfsilo.v1.Service");
    await expect(call(client, "GetServerInfo", {}, "wrong")).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
      details: "this call needs a valid token",
    });
    client.close();
    const hosts = clientOf(await learned("zfsilo.v1.HostService"), "zfsilo.v1.HostService");
    await call(hosts, "CreateHost", { host_id: "hst_x", host: { roles: ["HOST_ROLE_INITIATOR"], local: {} } }, api.token);
    let aborted = false;
    api.ports.probe = {
      check: (_host, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            aborted = true;
            reject(signal.reason as Error);
          });
        }),
    };
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${api.token}`);
    const late = new Promise((resolve) => {
      const methods = hosts as unknown as Record<string, (message: object, metadata: Metadata, o: object, done: (error: ServiceError) => void) => void>;
      methods["CheckHost"]!({ name: "hosts/hst_x" }, metadata, { deadline: Date.now() + 150 }, resolve);
    });
    expect(await late).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await expect.poll(() => aborted).toBe(true);
    hosts.close();
  });
});
