import type { CallOptions, Executor } from "@zfsilo/command";
import { namedFiles, textOf } from "../file-results.ts";
import { ok, warning, type HostCheck } from "./check.ts";

/** By what machines are told apart, undefined where the host does not say. */
export interface HostIdentity {
  readonly machineId: string | undefined;
  readonly hostname: string | undefined;
}

export async function readIdentity(executor: Executor, o: CallOptions): Promise<HostIdentity> {
  const { id, name } = await namedFiles(
    executor,
    {
      id: { op: "read", path: "/etc/machine-id", maxBytes: 64, tolerate: ["ENOENT"] },
      name: { op: "read", path: "/etc/hostname", maxBytes: 256, tolerate: ["ENOENT"] },
    },
    o,
  );
  const said = (text: string | undefined): string | undefined => (["", "uninitialized", "localhost"].includes(text?.trim() ?? "") ? undefined : text?.trim());
  return { machineId: said(textOf(id)), hostname: said(textOf(name)) };
}

/** Two hosts that are one machine, or a machine and its clone, get in each other's way. `others` by their names. */
export function identityCheck(own: HostIdentity, others: ReadonlyMap<string, HostIdentity>): HostCheck {
  const name = "machine.identity";
  const found = [...others].flatMap(([host, other]) => {
    if (own.machineId !== undefined && own.machineId === other.machineId) return [`${host} has the same /etc/machine-id`];
    return own.hostname !== undefined && own.hostname === other.hostname ? [`${host} has the same host name ${own.hostname}`] : [];
  });
  if (found.length === 0) return ok(name, own.hostname ?? own.machineId ?? "unknown");
  return warning(
    name,
    found.join(", "),
    "If both are one machine, keep one of them. If one was cloned from the other, give it a name and an id of its own " +
      "(`hostnamectl set-hostname NAME`; `rm /etc/machine-id && systemd-machine-id-setup`), and a name of its own in /etc/iscsi/initiatorname.iscsi.",
  );
}
