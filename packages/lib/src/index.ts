export * from "./assert-never.ts";
export * from "./bytes.ts";
export * from "./errors.ts";
export * from "./ids.ts";
export * from "./keyed-mutex.ts";
export * from "./log.ts";
export * from "./retry.ts";
export * from "./secret.ts";
