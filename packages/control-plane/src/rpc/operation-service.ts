import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetOperationResponseSchema,
  ListOperationsResponseSchema,
  WatchOperationResponseSchema,
  type OperationService,
} from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { OperationRecord, OperationStore } from "../store/stores.ts";
import { changes } from "./changes.ts";
import { operationToMessage } from "./convert/operation.ts";
import { parseOperationName } from "./field.ts";
import type { OperationWatch } from "./ports.ts";

export interface OperationServiceDeps {
  readonly operations: OperationStore;
  readonly watch: OperationWatch;
  /** Aborts when the server stops: a watch must not keep it up. */
  readonly stopping: AbortSignal;
}

export function operationService({ operations, watch, stopping }: OperationServiceDeps): ServiceImpl<typeof OperationService> {
  return {
    async getOperation({ name }) {
      const operation = await operations.get(parseOperationName(name, "name"));
      return create(GetOperationResponseSchema, { operation: operationToMessage(operation, watch.progressOf(operation.id)) });
    },

    async listOperations(request) {
      const { items, nextPageToken } = await operations.list(request);
      return create(ListOperationsResponseSchema, { operations: items.map(withoutCommands).map((operation) => operationToMessage(operation)), nextPageToken });
    },

    async *watchOperation({ name }, { signal }) {
      const id = parseOperationName(name, "name");
      // Subscribed before the first read: a change in between is seen by the next read.
      for await (const _change of changes((changed) => watch.subscribe(id, changed), [signal, stopping])) {
        const operation = await operations.get(id);
        yield create(WatchOperationResponseSchema, { operation: operationToMessage(operation, watch.progressOf(id)) });
        if (hasEnded(operation)) return;
      }
      if (!signal.aborted) {
        throw new StorageError("unavailable", `watch ${name}: the control plane is stopping`, { hint: "Watch it again." });
      }
    },
  };
}

/** A stuck operation has not ended: it is tried again. */
function hasEnded({ state }: OperationRecord): boolean {
  return state === "succeeded" || state === "failed";
}

/** A page of operations with up to 100 commands each would outgrow what gRPC clients take in one message. */
function withoutCommands(operation: OperationRecord): OperationRecord {
  return { ...operation, commands: [] };
}
