import type { CallOptions, Executor, FileOperation, FileResult } from "@zfsilo/command";
import { filesOf, namedFiles, textOf } from "../file-results.ts";
import { ok, warning, type HostCheck } from "./check.ts";
import { lioDisks, lvmCheck, zvolsOf } from "./lvm.ts";
import { multipathCheck } from "./multipath.ts";
import { restoringUnits, savedFiles, savedTargetsCheck } from "./saved-targets.ts";

export interface Neighbourhood {
  readonly roles: readonly ("target" | "initiator")[];
  /** A dataset under which volumes are made. */
  readonly parent: string | undefined;
  /** What zfsilo's target names begin with. */
  readonly iqnPrefix: string;
}

type Read = "kernel" | "lvm" | "lvmSbin" | "lvmConf" | "lvmLocal" | "lvmDevices" | "programs" | "multipath" | "multipathMore" | "udev" | (typeof savedFiles)[number] | (typeof restoringUnits)[number];

const optional = (path: string): FileOperation => ({ op: "read", path, maxBytes: 16 << 20, tolerate: ["ENOENT", "ENOTDIR"] });
const exists = (path: string): FileOperation => ({ op: "readlink", path, tolerate: ["EINVAL", "ENOENT", "ENOTDIR"] });
const wanted = (unit: string): FileOperation => exists(`/etc/systemd/system/multi-user.target.wants/${unit}`);

const reads: Readonly<Record<Read, FileOperation>> = {
  kernel: { op: "read", path: "/proc/sys/kernel/osrelease" },
  lvm: exists("/usr/sbin/lvm"),
  lvmSbin: exists("/sbin/lvm"),
  lvmConf: optional("/etc/lvm/lvm.conf"),
  lvmLocal: optional("/etc/lvm/lvmlocal.conf"),
  lvmDevices: optional("/etc/lvm/devices/system.devices"),
  programs: { op: "read-glob", path: "/proc/*/comm" },
  multipath: optional("/etc/multipath.conf"),
  multipathMore: { op: "read-glob", path: "/etc/multipath/conf.d/*.conf" },
  udev: { op: "read-glob", path: "/etc/udev/rules.d/*.rules" },
  "/etc/rtslib-fb-target/saveconfig.json": optional("/etc/rtslib-fb-target/saveconfig.json"),
  "/etc/target/saveconfig.json": optional("/etc/target/saveconfig.json"),
  "target.service": wanted("target.service"),
  "rtslib-fb-targetctl.service": wanted("rtslib-fb-targetctl.service"),
};

/** What else on a host reaches for the devices and targets that are zfsilo's. One batch of file reads. */
export async function neighbourChecks(executor: Executor, { roles, parent, iqnPrefix }: Neighbourhood, o: CallOptions): Promise<HostCheck[]> {
  const files = await namedFiles(executor, reads, o);
  const checks = [ok("kernel", textOf(files.kernel)?.trim() ?? "")];
  const lvm = {
    installed: isThere(files.lvm) || isThere(files.lvmSbin),
    conf: textOf(files.lvmConf),
    local: textOf(files.lvmLocal),
    devices: textOf(files.lvmDevices),
  };
  if (roles.includes("target")) {
    if (parent !== undefined) checks.push(lvmCheck("lvm.zvols", lvm, zvolsOf(parent)));
    const enabled = restoringUnits.find((unit) => isThere(files[unit]));
    const saved = Object.fromEntries(savedFiles.map((file) => [file, textOf(files[file])]));
    checks.push(udevCheck(filesOf(files.udev)), savedTargetsCheck(iqnPrefix, saved, enabled));
  }
  if (roles.includes("initiator")) {
    const running = filesOf(files.programs).some(([, name]) => name.trim() === "multipathd");
    const configuration = [textOf(files.multipath) ?? "", ...filesOf(files.multipathMore).map(([, text]) => text)].join("\n");
    checks.push(lvmCheck("lvm.disks", lvm, lioDisks), multipathCheck(running, configuration));
  }
  return checks;
}

/** EINVAL: it is there and no link. */
function isThere({ text, errno }: FileResult): boolean {
  return text !== undefined || errno === "EINVAL";
}

/** A rule that starts a program on a zvol opens it, when it is made and each time it is written and closed. */
function udevCheck(rules: ReturnType<typeof filesOf>): HostCheck {
  const found = rules.filter(([, text]) => text.split("\n").some((line) => /^\s*[^#]*\bzd[^a-z]/.test(line) && /\b(?:RUN|PROGRAM|IMPORT\{program\})/.test(line)));
  if (found.length === 0) return ok("udev.zvols", "no rule of the host's own starts a program on zvols");
  const names = found.map(([path]) => path).join(", ");
  return warning("udev.zvols", `a rule in ${names} starts a program on zvols, which may keep them busy`, `Exclude zvols there, or remove the rule; then \`udevadm control --reload\`.`);
}
