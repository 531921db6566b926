export * from "./command-error.ts";
export * from "./executor.ts";
