import type { RunResult } from "@zfsilo/command";
import { UnmodelledError } from "../failure.ts";
import { portalText } from "../lio/view.ts";
import type { Machine } from "../machine.ts";
import type { SessionDoc } from "../model.ts";
import { done, failed, lastValue, parseOptions, ToolFailure, type Options, type Program } from "../program.ts";
import { nodeRecords } from "./node-records.ts";
import { findRecords, type NodeRecord } from "./record.ts";
import { login, logout, scan, sessionIds, type LoginResult } from "./session.ts";

/** iscsiadm of open-iscsi 2.1.8: node (login, logout, rescan, records), session (list, rescan, logout). No discovery. */
export const iscsiadm: Program = (machine, args) => {
  const options = parseOptions("iscsiadm", args, {
    flags: ["--login", "-l", "--logout", "-u", "--rescan", "-R", "--version", "-V"],
    values: ["-m", "--mode", "-T", "--targetname", "-p", "--portal", "-I", "--interface", "-r", "--sid", "-o", "--op", "-n", "--name", "-v", "--value"],
  });
  if (options.rest.length > 0) throw new UnmodelledError(`iscsiadm ${options.rest.join(" ")}`);
  if (has(options, "--version", "-V")) return done("iscsiadm version 2.1.8\n");
  const mode = value(options, "-m", "--mode");
  if (mode === "session") return sessionMode(machine, options);
  if (mode === "node") return nodeMode(machine, options);
  throw new UnmodelledError(`iscsiadm -m ${mode ?? ""}`);
};

const has = (options: Options, ...names: readonly string[]): boolean => names.some((name) => options.flags.has(name));

const value = (options: Options, ...names: readonly string[]): string | undefined =>
  names.map((name) => lastValue(options, name)).find((found) => found !== undefined);

function sessionMode(machine: Machine, options: Options): RunResult {
  const sid = value(options, "-r", "--sid");
  const rescan = has(options, "--rescan", "-R");
  const out = has(options, "--logout", "-u");
  if (sid !== undefined && !machine.model.sessions.has(machine.at(sid))) {
    return failed(22, `iscsiadm: could not read session targetname: 5\niscsiadm: Could not get session info for sid ${sid}`);
  }
  const ids = sid === undefined ? sessionIds(machine) : [Number(sid)];
  if (ids.length === 0) {
    const text = rescan ? "No session found." : out ? "No matching sessions found" : "No active sessions.";
    return failed(21, `iscsiadm: ${text}`);
  }
  if (rescan) return rescanAll(machine, ids);
  if (out) return logoutAll(machine, ids);
  return done(eachSession(machine, ids, (session, id) => `tcp: [${id}] ${place(session)} ${session.target} (non-flash)\n`));
}

const place = (session: SessionDoc): string =>
  `${portalText(session.address, session.port)},${session.tpgt.replace("tpgt_", "")}`;

function eachSession(machine: Machine, ids: readonly number[], line: (session: SessionDoc, id: number) => string): string {
  return ids
    .map((id) => {
      const session = machine.model.sessions.get(machine.at(String(id)));
      return session === undefined ? "" : line(session, id);
    })
    .join("");
}

const described = (session: SessionDoc, id: number): string =>
  `[sid: ${id}, target: ${session.target}, portal: ${session.address},${session.port}]`;

function rescanAll(machine: Machine, ids: readonly number[]): RunResult {
  for (const id of ids) scan(machine, id);
  return done(eachSession(machine, ids, (session, id) => `Rescanning session ${described(session, id)}\n`));
}

function logoutAll(machine: Machine, ids: readonly number[]): RunResult {
  const stdout =
    eachSession(machine, ids, (session, id) => `Logging out of session ${described(session, id)}\n`) +
    eachSession(machine, ids, (session, id) => `Logout of ${described(session, id)} successful.\n`);
  for (const id of ids) logout(machine, id);
  return done(stdout);
}

function nodeMode(machine: Machine, options: Options): RunResult {
  const target = value(options, "-T", "--targetname");
  const iface = value(options, "-I", "--interface");
  const portalOption = value(options, "-p", "--portal");
  const portal = portalOption === undefined ? undefined : parsePortal(portalOption);
  if (has(options, "--login", "-l")) {
    if (target === undefined) throw new UnmodelledError("iscsiadm login without -T");
    return loginAll(machine, findRecords(machine, target, portal, iface));
  }
  if (has(options, "--logout", "-u", "--rescan", "-R")) {
    const ids = sessionIds(machine, target).filter((id) => {
      const session = machine.model.sessions.get(machine.at(String(id)));
      return (
        (iface === undefined || session?.iface === iface) &&
        (portal === undefined || (session?.address === portal.address && session.port === portal.port))
      );
    });
    const rescan = has(options, "--rescan", "-R");
    if (ids.length === 0) return failed(21, rescan ? "iscsiadm: No session found." : "iscsiadm: No matching sessions found");
    return rescan ? rescanAll(machine, ids) : logoutAll(machine, ids);
  }
  return nodeRecords(machine, value(options, "-o", "--op") ?? "show", {
    target,
    portal,
    iface,
    names: [...(options.values.get("-n") ?? []), ...(options.values.get("--name") ?? [])],
    values: [...(options.values.get("-v") ?? []), ...(options.values.get("--value") ?? [])],
  });
}

function parsePortal(text: string): { address: string; port: string } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?(?:,\d+)?$/.exec(text);
  if (match === null) throw new UnmodelledError(`portal ${text}`);
  return { address: match[1] ?? match[2] ?? "", port: match[3] ?? "3260" };
}

/** One code for all: the first failure. */
function loginAll(machine: Machine, records: readonly NodeRecord[]): RunResult {
  if (records.length === 0) return failed(21, "iscsiadm: No records found");
  const stdout: string[] = [];
  const problems: string[] = [];
  let code: LoginResult = 0;
  for (const record of records) {
    const where = `[iface: ${record.iface}, target: ${record.iqn}, portal: ${record.address},${record.port}]`;
    const result = login(machine, record);
    code = code === 0 ? result : code;
    if (result !== 15) stdout.push(`Logging in to ${where}\n`);
    if (result === 0) stdout.push(`Login to ${where} successful.\n`);
    else if (result === 15) problems.push(`iscsiadm: ${record.iface}: 1 session requested, but 1 already present.`);
    else problems.push(`iscsiadm: Could not login to ${where}.`, `iscsiadm: initiator reported error (${result} - ${loginTexts[result]})`);
  }
  if (code === 0) return done(stdout.join(""));
  throw new ToolFailure(code, [...problems, "iscsiadm: Could not log into all portals"].join("\n"), stdout.join(""));
}

const loginTexts = {
  6: "iSCSI database failure",
  8: "connection timed out",
  19: "encountered non-retryable iSCSI login failure",
  24: "iSCSI login failed due to authorization failure",
} as const satisfies Record<Exclude<LoginResult, 0 | 15>, string>;
