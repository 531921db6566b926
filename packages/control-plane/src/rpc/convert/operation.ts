import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  HostCommandSchema,
  OperationErrorSchema,
  OperationProgressSchema,
  OperationSchema,
  OperationState,
  OperationStepSchema,
  StepState,
  type HostCommand,
  type Operation,
  type OperationStep,
} from "@zfsilo/api";
import type { OperationState as StateWord, StepRecord, StepState as StepWord } from "@zfsilo/try";
import type { Progress } from "../../operation/trace.ts";
import type { CommandRecord, OperationRecord } from "../../store/stores.ts";

const operationState = {
  running: OperationState.RUNNING,
  undoing: OperationState.UNDOING,
  succeeded: OperationState.SUCCEEDED,
  failed: OperationState.FAILED,
  stuck: OperationState.STUCK,
} as const satisfies Record<StateWord, OperationState>;

const stepState = {
  pending: StepState.PENDING,
  running: StepState.RUNNING,
  done: StepState.DONE,
  failed: StepState.FAILED,
  undone: StepState.UNDONE,
  undo_failed: StepState.UNDO_FAILED,
  dropped: StepState.DROPPED,
} as const satisfies Record<StepWord, StepState>;

export function operationToMessage(operation: OperationRecord, progress?: Progress): Operation {
  const { failure, endedAt } = operation;
  return create(OperationSchema, {
    name: `operations/${operation.id}`,
    kind: operation.kind,
    subject: operation.subject,
    state: operationState[operation.state],
    steps: operation.steps.map((step) => stepToMessage(step, operation.commands, progress)),
    ...(failure && {
      error: create(OperationErrorSchema, {
        reason: failure.reason.toUpperCase(),
        message: failure.message,
        hint: failure.hint ?? "",
      }),
    }),
    createTime: timestampFromDate(operation.createdAt),
    ...(endedAt && { endTime: timestampFromDate(endedAt) }),
    notes: notesOf(operation.context),
  });
}

/** Workflows keep under this name what was decided before they began. */
function notesOf(context: object): string[] {
  const notes: unknown = "notes" in context ? context.notes : [];
  return Array.isArray(notes) ? notes.filter((note) => typeof note === "string") : [];
}

function stepToMessage({ name, state, startedAt, endedAt }: StepRecord, commands: readonly CommandRecord[], progress?: Progress): OperationStep {
  return create(OperationStepSchema, {
    name,
    state: stepState[state],
    ...(startedAt && { startTime: timestampFromDate(startedAt) }),
    ...(endedAt && { endTime: timestampFromDate(endedAt) }),
    commands: commands.filter(({ step }) => step === name).map(commandToMessage),
    ...(progress?.step === name && {
      progress: create(OperationProgressSchema, { doneBytes: progress.doneBytes, totalBytes: progress.totalBytes }),
    }),
  });
}

function commandToMessage({ host, command, exitCode, error, durationMs }: CommandRecord): HostCommand {
  // Hosts are recorded by id or by name, whichever the executor was given.
  const name = host.startsWith("hosts/") ? host : `hosts/${host}`;
  return create(HostCommandSchema, { host: name, command, exitCode, error, durationMs });
}
