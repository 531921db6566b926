import type { StderrRule } from "../tool.ts";

/** Exit codes of iscsiadm, named as in open-iscsi's include/iscsi_err.h (2.1.8). The text only varies with the address. */
export const iscsiadmExits = { sessionExists: 15, noObjectsFound: 21 } as const;

const unreachable = "Check the portal address, the network between the hosts, and that the target is exported and enabled.";
const any = /(?:)/;

export const iscsiadmFailures: readonly StderrRule[] = [
  { exitCode: 4, pattern: any, reason: "unavailable", hint: unreachable },
  { exitCode: 5, pattern: any, reason: "unavailable", hint: "The target refused the login; see the target host's kernel log." },
  { exitCode: 7, pattern: /Invalid param name|invalid parameter/, reason: "internal" },
  { exitCode: 8, pattern: any, reason: "unavailable", hint: unreachable },
  { exitCode: 11, pattern: any, reason: "unavailable", hint: unreachable },
  { exitCode: 13, pattern: any, reason: "permission_denied", hint: "iscsiadm must run as root." },
  { exitCode: 15, pattern: /session exists|already present/, reason: "already_exists" },
  {
    exitCode: 18,
    pattern: any,
    reason: "unavailable",
    hint: "iscsid does not answer: `systemctl status iscsid.socket iscsid` on the host.",
  },
  {
    exitCode: 19,
    pattern: any,
    reason: "precondition",
    hint: "The login failed for good. With mutual CHAP: the target's own user id or secret is not the expected one.",
  },
  {
    exitCode: 20,
    pattern: any,
    reason: "unavailable",
    hint: "iscsid does not answer: `systemctl status iscsid.socket iscsid` on the host.",
  },
  { exitCode: 21, pattern: any, reason: "not_found" },
  { exitCode: 22, pattern: /could not read session targetname|Could not get session info/, reason: "not_found" },
  {
    exitCode: 24,
    pattern: any,
    reason: "permission_denied",
    hint: "The target does not know this initiator or its CHAP secret differs: SyncVolume puts its access back; CheckHost shows the initiator's name.",
  },
  { exitCode: 28, pattern: any, reason: "busy" },
  { exitCode: 29, pattern: any, reason: "busy" },
];
