import { create, createRegistry, toBinary, type DescFile, type DescService, type MessageInitShape, type Registry } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { reflectionV1, type reflectionV1alpha } from "@zfsilo/api";

type Request = reflectionV1.ServerReflectionRequest;
type Response = MessageInitShape<typeof reflectionV1.ServerReflectionResponseSchema>;
type RequestAlpha = reflectionV1alpha.ServerReflectionRequest;
type ResponseAlpha = MessageInitShape<typeof reflectionV1alpha.ServerReflectionResponseSchema>;
type Answer = reflectionV1.ServerReflectionResponse["messageResponse"];

/** grpc.reflection: what grpcurl and other dynamic clients learn the API from. */
export class Reflection {
  readonly #services: readonly string[];
  readonly #files: ReadonlyMap<string, DescFile>;
  readonly #registry: Registry;

  constructor(services: readonly DescService[]) {
    this.#services = services.map(({ typeName }) => typeName).sort();
    this.#files = withImports(services.map(({ file }) => file));
    this.#registry = createRegistry(...this.#files.values());
  }

  async *serverReflectionInfo(requests: AsyncIterable<Request>): AsyncGenerator<Response> {
    for await (const request of requests) {
      yield { validHost: request.host, originalRequest: request, messageResponse: this.#answer(request) };
    }
  }

  /** v1alpha differs from v1 in the name of its package alone: the same fields, the same answers. */
  async *serverReflectionInfoAlpha(requests: AsyncIterable<RequestAlpha>): AsyncGenerator<ResponseAlpha> {
    for await (const request of requests) {
      const { messageRequest } = request as unknown as Request;
      const messageResponse = this.#answer({ messageRequest }) as unknown as NonNullable<ResponseAlpha["messageResponse"]>;
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }

  #answer({ messageRequest: question }: Pick<Request, "messageRequest">): Answer {
    switch (question.case) {
      case "listServices": {
        const names = this.#services.map((name) => create(reflectionV1.ServiceResponseSchema, { name }));
        return { case: "listServicesResponse", value: create(reflectionV1.ListServiceResponseSchema, { service: names }) };
      }
      case "fileByFilename":
        return filesAnswer(this.#files.get(question.value), `file ${question.value}`);
      case "fileContainingSymbol":
        return filesAnswer(this.#fileOf(question.value), `symbol ${question.value}`);
      case "fileContainingExtension":
        return notFound(`extension ${question.value.extensionNumber} of ${question.value.containingType}`);
      case "allExtensionNumbersOfType": {
        if (this.#registry.getMessage(question.value) === undefined) return notFound(`message ${question.value}`);
        const none = create(reflectionV1.ExtensionNumberResponseSchema, { baseTypeName: question.value });
        return { case: "allExtensionNumbersResponse", value: none };
      }
      case undefined:
        return failure(Code.InvalidArgument, "the request asks nothing");
    }
  }

  /** Types, services, and their fields and methods, by full name. */
  #fileOf(symbol: string): DescFile | undefined {
    const name = symbol.replace(/^\./, "");
    const type = this.#registry.get(name);
    if (type !== undefined) return type.file;
    const dot = name.lastIndexOf(".");
    if (dot === -1) return undefined;
    const parent = this.#registry.get(name.slice(0, dot));
    const member = name.slice(dot + 1);
    switch (parent?.kind) {
      case "service":
        return parent.methods.some((method) => method.name === member) ? parent.file : undefined;
      case "message":
        return [...parent.fields, ...parent.oneofs].some((part) => part.name === member) ? parent.file : undefined;
      case "enum":
        return parent.values.some((value) => value.name === member) ? parent.file : undefined;
      case "extension":
      case undefined:
        return undefined;
    }
  }
}

function withImports(roots: readonly DescFile[]): Map<string, DescFile> {
  const found = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (found.has(file.proto.name)) return;
    found.set(file.proto.name, file);
    file.dependencies.forEach(add);
  };
  roots.forEach(add);
  return found;
}

/** A file and all it imports, so that one question is enough. */
function filesAnswer(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return notFound(what);
  const fileDescriptorProto = [...withImports([file]).values()].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return {
    case: "fileDescriptorResponse",
    value: create(reflectionV1.FileDescriptorResponseSchema, { fileDescriptorProto }),
  };
}

function notFound(what: string): Answer {
  return failure(Code.NotFound, `there is no ${what}`);
}

function failure(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: create(reflectionV1.ErrorResponseSchema, { errorCode, errorMessage }) };
}
