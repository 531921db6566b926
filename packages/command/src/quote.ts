import type { Argv } from "./executor.ts";
import { systemPath } from "./system-path.ts";

/** The line by which a remote command tells that it is about to run, and in which process group. */
export const startMarker = "zfsilo:";

/** One argument as one word of a POSIX shell. Within single quotes only the single quote itself is special. */
export function quoteArgument(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Sets `p` to the file that `$1` names, as execvp would find it. Builtins only: no fork is spent on the search. */
export const findProgram =
  `case $1 in ''|-*) p=;; */*) p=$1;; *) p=; IFS=:; for d in $PATH; do ` +
  `if [ -f "$d/$1" ] && [ -x "$d/$1" ]; then p=$d/$1; break; fi; done; unset IFS;; esac`;

/**
 * The one place that makes a shell line: ssh has no other way to name a command (RFC 4254, 6.5). The arguments meet the
 * shell once, quoted, as its positional parameters; the rest is fixed text.
 *
 * It prints `zfsilo:PID` and becomes the program, so PID is the program's own, and its process group: sshd gives every
 * session without a terminal its own (session.c, do_exec_no_pty calls setsid). When there is no such program it prints
 * `zfsilo:-`; exit 127 alone could also come from the program.
 */
export function remoteCommandLine(argv: Argv): string {
  return [
    `LC_ALL=C TZ=UTC PATH=${systemPath}; export LC_ALL TZ PATH`,
    `set -- ${argv.map(quoteArgument).join(" ")}`,
    findProgram,
    `if [ -f "$p" ] && [ -x "$p" ]; then echo ${startMarker}$$; exec "$@"; fi`,
    `echo ${startMarker}-; exit 127`,
  ].join("; ");
}

/**
 * Ends process groups: TERM, up to 2 s for them to leave, then KILL. ssh's own "signal" request would need no second
 * command, but sshd refuses it for root, whose sessions run without privilege separation (session.c, session_signal_req).
 */
export function endGroupsLine(groups: readonly number[]): string {
  const all = groups.map((group) => `-${Math.trunc(group)}`).join(" ");
  return [
    "left() { for g in $1; do if kill -s 0 -- $g 2>/dev/null; then return 0; fi; done; return 1; }",
    `for g in ${all}; do kill -s TERM -- $g 2>/dev/null; done`,
    `n=0; while [ $n -lt 40 ] && left '${all}'; do sleep 0.05; n=$((n+1)); done`,
    `for g in ${all}; do kill -s KILL -- $g 2>/dev/null; done; exit 0`,
  ].join("; ");
}
