import type { OperationState } from "@zfsilo/try";
import type { CommandOutcome } from "./machines/connect.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { volumeStatuses } from "./store/model.ts";

export type StepOutcome = "done" | "failed" | "undone" | "undo_failed" | "dropped";

export interface PoolSpace {
  readonly host: string;
  readonly pool: string;
  readonly sizeBytes: bigint;
  readonly freeBytes: bigint;
}

/** What is read when somebody collects the metrics. A part that fails is left out; the rest is still told. */
export interface MetricSources {
  /** Since the start. */
  logLinesLost(): number;
  volumesByStatus(): Promise<Readonly<Record<string, number>>>;
  /** Volumes and hosts that have a condition, by its reason. */
  volumesByCondition(): Promise<Readonly<Record<string, number>>>;
  hostsByCondition(): Promise<Readonly<Record<string, number>>>;
  openOperations(): Promise<Readonly<Partial<Record<OperationState, number>>>>;
  pools(): Promise<readonly PoolSpace[]>;
}

const openStates = ["running", "undoing", "stuck"] as const satisfies readonly OperationState[];

/**
 * Labels are closed sets: methods, codes, tools, kinds and steps of workflows, hosts and pools. Never a volume, an
 * operation or anything a caller makes up: each value of a label costs memory for ever.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #calls: Histogram<"method" | "code">;
  readonly #commands: Histogram<"tool" | "outcome">;
  readonly #steps: Counter<"kind" | "step" | "outcome">;
  readonly #undos: Counter<"kind">;
  readonly #volumes: Gauge<"status">;
  readonly #open: Gauge<"state">;
  readonly #poolSize: Gauge<"host" | "pool">;
  readonly #poolFree: Gauge<"host" | "pool">;
  readonly #abnormalVolumes: Gauge<"reason">;
  readonly #abnormalHosts: Gauge<"reason">;
  readonly #cycles: Histogram<"outcome">;
  readonly #looks: Histogram;
  readonly #repairs: Counter<"action" | "outcome">;
  readonly #portLimits: Counter<"limit">;
  readonly #sources: MetricSources;

  constructor(sources: MetricSources) {
    this.#sources = sources;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#calls = new Histogram({
      name: "zfsilo_rpc_duration_seconds",
      help: "Calls by method and status code, from the message read to the answer ready.",
      labelNames: ["method", "code"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#commands = new Histogram({
      name: "zfsilo_host_command_duration_seconds",
      help: "Commands and batches of file operations on hosts, by tool and outcome.",
      labelNames: ["tool", "outcome"],
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#steps = new Counter({
      name: "zfsilo_workflow_step_total",
      help: "Steps of workflows that ended, by outcome.",
      labelNames: ["kind", "step", "outcome"],
      registers,
    });
    this.#undos = new Counter({
      name: "zfsilo_workflow_undo_total",
      help: "Steps that were taken back, or could not be yet.",
      labelNames: ["kind"],
      registers,
    });
    this.#volumes = this.#gauge("zfsilo_volumes", "Volumes by status.", "status");
    this.#open = this.#gauge("zfsilo_operations_open", "Operations that have not ended, by state. A stuck one needs a look.", "state");
    this.#cycles = new Histogram({
      name: "zfsilo_reconcile_cycle_seconds",
      help: "Looks at all hosts with what was repaired, by outcome.",
      labelNames: ["outcome"],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      registers,
    });
    this.#looks = new Histogram({
      name: "zfsilo_reconcile_observe_seconds",
      help: "The part of a reconcile cycle in which all hosts are looked at.",
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      registers,
    });
    this.#repairs = new Counter({
      name: "zfsilo_reconcile_repairs_total",
      help: "Repairs that were tried, by action and outcome.",
      labelNames: ["action", "outcome"],
      registers,
    });
    new Counter({
      name: "zfsilo_log_lines_lost_total",
      help: "Log lines that could not be written.",
      registers,
      collect() {
        this.reset();
        this.inc(sources.logLinesLost());
      },
    });
    this.#portLimits = new Counter({
      name: "zfsilo_port_limits_total",
      help: "Times that a limit of the port was met, by limit.",
      labelNames: ["limit"],
      registers,
    });
    this.#abnormalVolumes = this.#gauge("zfsilo_volumes_abnormal", "Volumes that are not as recorded, by the reason of their condition.", "reason");
    this.#abnormalHosts = this.#gauge("zfsilo_hosts_abnormal", "Hosts with a condition, by its reason.", "reason");
    this.#poolSize = this.#gauge("zfsilo_pool_size_bytes", "Size of pools.", "host", "pool");
    this.#poolFree = this.#gauge("zfsilo_pool_free_bytes", "Free space of pools.", "host", "pool");
  }

  /** A call that ended; the CallObserver of the RPC server. */
  ended(method: string, code: string, seconds: number): void {
    this.#calls.observe({ method, code }, seconds);
  }

  hostCommand(tool: string, outcome: CommandOutcome, seconds: number): void {
    this.#commands.observe({ tool, outcome }, seconds);
  }

  observed(seconds: number): void {
    this.#looks.observe(seconds);
  }

  cycle(outcome: "ok" | "failed", seconds: number): void {
    this.#cycles.observe({ outcome }, seconds);
  }

  repair(action: string, outcome: "done" | "failed"): void {
    this.#repairs.inc({ action, outcome });
  }

  portLimit(limit: string): void {
    this.#portLimits.inc({ limit });
  }

  step(kind: string, step: string, outcome: StepOutcome): void {
    this.#steps.inc({ kind, step, outcome });
    if (outcome === "undone" || outcome === "undo_failed") this.#undos.inc({ kind });
  }

  /** The text of /metrics. */
  async collect(): Promise<{ contentType: string; text: string }> {
    await Promise.all([this.#readVolumes(), this.#readConditions(), this.#readOperations(), this.#readPools()]);
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  async #readVolumes(): Promise<void> {
    const counts = await orNothing(this.#sources.volumesByStatus());
    this.#volumes.reset();
    if (counts !== undefined) for (const status of volumeStatuses) this.#volumes.set({ status }, counts[status] ?? 0);
  }

  async #readConditions(): Promise<void> {
    const counts = [
      [this.#abnormalVolumes, await orNothing(this.#sources.volumesByCondition())],
      [this.#abnormalHosts, await orNothing(this.#sources.hostsByCondition())],
    ] as const;
    for (const [gauge, found] of counts) {
      gauge.reset();
      for (const [reason, count] of Object.entries(found ?? {})) gauge.set({ reason }, count);
    }
  }

  async #readOperations(): Promise<void> {
    const counts = await orNothing(this.#sources.openOperations());
    this.#open.reset();
    if (counts !== undefined) for (const state of openStates) this.#open.set({ state }, counts[state] ?? 0);
  }

  async #readPools(): Promise<void> {
    const pools = await orNothing(this.#sources.pools());
    this.#poolSize.reset();
    this.#poolFree.reset();
    for (const { host, pool, sizeBytes, freeBytes } of pools ?? []) {
      this.#poolSize.set({ host, pool }, Number(sizeBytes));
      this.#poolFree.set({ host, pool }, Number(freeBytes));
    }
  }

  #gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }
}

/** A host that hangs must not take the other metrics with it: Prometheus gives up after ten seconds by default. */
const readTimeoutMs = 3_000;

async function orNothing<T>(read: Promise<T>): Promise<T | undefined> {
  const timeout = new AbortController();
  try {
    return await Promise.race([read, sleep(readTimeoutMs, undefined, { signal: timeout.signal, ref: false })]);
  } catch {
    return undefined;
  } finally {
    timeout.abort();
  }
}
