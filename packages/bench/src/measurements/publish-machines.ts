import type { Bench, MachineMeasurement } from "../measurement.ts";
export const publishMachines: MachineMeasurement = { name: "publish-machines", run: (_b: Bench) => Promise.resolve({ measures: [], ratios: [] }) };
