import type { Bench, MachineMeasurement } from "../measurement.ts";
export const connectMachines: MachineMeasurement = { name: "connect-machines", run: (_b: Bench) => Promise.resolve({ measures: [], ratios: [] }) };
