export type { CallLog, LoggedCall } from "./call-log.ts";
export { UnmodelledError } from "./failure.ts";
export type { Fault, FaultEffect, FaultMatch, Faults } from "./faults.ts";
export type { Picture } from "./snapshot.ts";
export { SimWorld, type SimMachine, type SimWorldOptions } from "./world.ts";
