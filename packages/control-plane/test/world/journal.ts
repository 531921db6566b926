import type { JournalEntry } from "@zfsilo/try";
import type { OperationStore } from "../../src/store/stores.ts";

export type AroundWrite = (entry: JournalEntry, write: () => Promise<void>) => Promise<void>;

/** A journal with something around each of its writes. */
export function journalWith(store: OperationStore, around: AroundWrite): OperationStore {
  return {
    open: (entry) => around(entry, () => store.open(entry)),
    save: (entry) => around(entry, () => store.save(entry)),
    listOpen: () => store.listOpen(),
    find: (id) => store.find(id),
    get: (id) => store.get(id),
    findLast: (subject) => store.findLast(subject),
    list: (request) => store.list(request),
    addCommands: (id, commands) => store.addCommands(id, commands),
    prune: (before) => store.prune(before),
  };
}
