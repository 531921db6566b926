import { invalidField } from "@zfsilo/lib";
import type { HostRecord } from "../store/model.ts";
import type { HostStore } from "../store/stores.ts";
import { parseHostName } from "./field.ts";

/** The target host of that name, or all of them. The error names `field`. */
export async function targetHosts(hosts: HostStore, name: string, field: string): Promise<readonly HostRecord[]> {
  if (name === "") return (await hosts.all()).filter(({ roles }) => roles.includes("target"));
  const host = await hosts.get(parseHostName(name, field));
  if (!host.roles.includes("target")) throw invalidField(field, `${name} is no target`);
  return [host];
}

/** How long a host may take to tell about its pools: one that does not answer must not hide the others. */
export const poolReadLimitMs = 10_000;
