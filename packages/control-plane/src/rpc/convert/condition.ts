import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ConditionSchema, type Condition } from "@zfsilo/api";
import type { ConditionRecord } from "../../store/model.ts";

/** Unset while nothing is wrong. */
export function conditionToMessage(condition: ConditionRecord | undefined): Condition | undefined {
  return (
    condition &&
    create(ConditionSchema, {
      abnormal: true,
      reason: condition.reason,
      message: condition.message,
      observeTime: timestampFromDate(condition.observedAt),
    })
  );
}
