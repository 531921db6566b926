import { failed, ok, warning, type HostCheck } from "./check.ts";

/** How the services are called that load targetcli's saved configuration at boot: upstream and RHEL, and Debian. */
export const restoringUnits = ["target.service", "rtslib-fb-targetctl.service"] as const;

/** Where targetcli saves to: Debian, and upstream and RHEL. */
export const savedFiles = ["/etc/rtslib-fb-target/saveconfig.json", "/etc/target/saveconfig.json"] as const;

const enough = "Not with --now: stopping it takes every target of the host down.";

/**
 * targetcli saves every target of the host when it is left, ours and their access with them. Loaded at the next boot they let in who
 * had access then, before the control plane has compared anything.
 */
export function savedTargetsCheck(iqnPrefix: string, saved: Readonly<Record<string, string | undefined>>, enabled: string | undefined): HostCheck {
  const name = "lio.saved";
  const found = Object.entries(saved).flatMap(([file, text]) => (text === undefined ? [] : [{ file, ours: countOurs(text, iqnPrefix) }]));
  const holding = found.find(({ ours }) => ours !== 0);
  const restores = enabled === undefined ? undefined : `${enabled} loads what targetcli saved at boot`;
  const disable = `\`systemctl disable ${enabled ?? ""}\` if no other target of the host needs it. ${enough}`;
  if (holding !== undefined) {
    const what = holding.ours === undefined ? `${holding.file} cannot be read as JSON` : `${holding.file} holds ${holding.ours} of zfsilo's targets`;
    const remove = `Take zfsilo's targets out of ${holding.file} (docs/hosts.md), or remove the file when nothing else is in it.`;
    if (restores === undefined) return warning(name, what, remove);
    return failed(name, `${what}, and ${restores}: initiators would have their old access back`, `${remove} Then ${disable}`);
  }
  if (restores === undefined) return ok(name, "nothing is loaded at boot");
  const keep = "Else tell targetcli not to save when it is left: `targetcli set global auto_save_on_exit=false`.";
  return warning(name, `${restores}; none of zfsilo's targets are saved now`, `${disable[0]?.toUpperCase() ?? ""}${disable.slice(1)} ${keep}`);
}

/** Undefined when it is no JSON as targetcli writes it: then nobody knows. */
function countOurs(text: string, iqnPrefix: string): number | undefined {
  try {
    const { targets } = JSON.parse(text) as { targets?: unknown };
    if (targets === undefined) return 0;
    if (!Array.isArray(targets)) return undefined;
    return targets.filter((target) => String((target as { wwn?: unknown } | null)?.wwn).startsWith(`${iqnPrefix}:`)).length;
  } catch {
    return undefined;
  }
}
