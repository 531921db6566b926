import { fromBinary, getOption, hasOption, createRegistry, type DescMessage } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, type DescriptorProto, type EnumDescriptorProto, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { csi } from "@zfsilo/api";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { goProgram, hasGo } from "../go-program.ts";

const run = promisify(execFile);

/** The same facts of either file, one line each: numbers, types, labels, oneofs, streams. */
function facts(file: FileDescriptorProto): string[] {
  return [
    ...file.service.flatMap(({ name, method }) =>
      method.map((m) => `rpc ${name}.${m.name} ${m.inputType} ${m.clientStreaming} ${m.outputType} ${m.serverStreaming}`),
    ),
    ...file.enumType.flatMap((type) => enumFacts(type, "")),
    ...file.messageType.flatMap((type) => messageFacts(type, "")),
  ].sort();
}

function messageFacts(message: DescriptorProto, outer: string): string[] {
  const path = `${outer}${message.name}`;
  return [
    `message ${path}`,
    ...message.field.map((field) => {
      const oneof = Object.hasOwn(field, "oneofIndex") ? message.oneofDecl[field.oneofIndex]?.name : "";
      return `field ${path}.${field.name} = ${field.number} type ${field.type} ${field.typeName} label ${field.label} oneof ${oneof}`;
    }),
    ...message.nestedType.flatMap((type) => messageFacts(type, `${path}.`)),
    ...message.enumType.flatMap((type) => enumFacts(type, `${path}.`)),
  ];
}

function enumFacts(type: EnumDescriptorProto, outer: string): string[] {
  return type.value.map(({ name, number }) => `enum ${outer}${type.name}.${name} = ${number}`);
}

/** Field numbers of options that are extensions, which the spec's file marks secrets with. */
const secretOption = 1059;

function secretsOf(message: DescriptorProto, outer: string): string[] {
  const path = `${outer}${message.name}`;
  return [
    ...message.field
      .filter(({ options }) => options?.$unknown?.some(({ no }) => no === secretOption))
      .map(({ name }) => `${path}.${name}`),
    ...message.nestedType.flatMap((type) => secretsOf(type, `${path}.`)),
  ];
}

describe.runIf(hasGo())("csi.proto", () => {
  it("has the names, numbers, types and labels of the spec's own Go package", { timeout: 300_000 }, async () => {
    const { stdout } = await run(await goProgram("descriptor"), [], { encoding: "buffer" });
    const theirs = fromBinary(FileDescriptorProtoSchema, stdout);
    const ours = csi.file_csi_v1_csi.proto;
    expect(ours.package).toBe(theirs.package);
    expect(theirs.messageType.length).toBeGreaterThan(70);
    expect(facts(ours)).toEqual(facts(theirs));
    const ourSecrets = [...createRegistry(csi.file_csi_v1_csi)].filter((type) => type.kind === "message").flatMap(markedSecret);
    expect(ourSecrets.sort()).toEqual(theirs.messageType.flatMap((type) => secretsOf(type, "csi.v1.")).sort());
  });
});

function markedSecret(message: DescMessage): string[] {
  return message.fields
    .filter((field) => hasOption(field, csi.csi_secret) && getOption(field, csi.csi_secret))
    .map(({ name }) => `${message.typeName}.${name}`);
}
