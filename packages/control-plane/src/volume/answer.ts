import type { OperationId } from "@zfsilo/lib";
import type { VolumeRecord } from "../store/model.ts";
import type { Ranked } from "./placement.ts";

/** What a mutating call answers: the volume as recorded afterwards, and the operation that did it, if one was needed. */
export interface Answer {
  readonly volume: VolumeRecord;
  readonly operation: OperationId | undefined;
  /** Where a new volume could have gone, best first. */
  readonly placement?: readonly Ranked[];
}
