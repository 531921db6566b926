import type { CallOptions, Executor } from "@zfsilo/command";
import { fileContract } from "@zfsilo/command/contract";
import type { CurrentLab } from "./lab.ts";

const directory = "/var/tmp/zfsilo-contract";

/** Plain files of both worlds follow the contract of every Executor; programs differ too much to be asked alike. */
export function executorFileContract(current: CurrentLab): void {
  fileContract({
    name: "plain files of the initiator",
    // Each generated case is a round trip of a quarter of a second on emulated machines.
    runs: 5,
    make: async () => {
      const lab = current();
      const executor = lab.byHand.initiator;
      const parents = ["/var", "/var/tmp", directory];
      await executor.files(parents.map((path) => ({ op: "mkdir", path, tolerate: ["EEXIST"] })), lab.o);
      return { executor, dir: directory, close: () => removeTree(executor, directory, lab.o) };
    },
  });
}

async function removeTree(executor: Executor, path: string, o: CallOptions): Promise<void> {
  const [removed] = await executor.files([{ op: "unlink", path, tolerate: ["EISDIR", "EPERM", "ENOENT"] }], o);
  if (removed?.errno === undefined || removed.errno === "ENOENT") return;
  const [list] = await executor.files([{ op: "list", path }], o);
  for (const name of list?.entries ?? []) await removeTree(executor, `${path}/${name}`, o);
  await executor.files([{ op: "rmdir", path }], o);
}
