import { aclOf, attributeOf, isDemoMode } from "../lio/view.ts";
import type { ConfigNode, Credentials } from "../model.ts";

export type Refusal = "not authorised" | "target not trusted";

/**
 * Whether a portal group lets an initiator in, and the initiator the target: access list and CHAP in both directions (RFC 7143
 * section 12). Undefined is yes. A missing ACL and a wrong secret look the same to the initiator.
 */
export function admit(group: ConfigNode, initiator: string, offered: Credentials): Refusal | undefined {
  const acl = aclOf(group, initiator);
  if (acl === undefined && !isDemoMode(group)) return "not authorised";
  const required = attributeOf(group, "attrib/authentication", "1") === "1";
  const secrets = acl ?? group;
  const user = secret(secrets, "userid");
  const password = secret(secrets, "password");
  if (required) {
    if (offered.method !== "CHAP" || user === undefined || password === undefined) return "not authorised";
    // LIO takes such a user id for a number, and finds it equal to nothing (extract_param, iscsi_target_nego.c).
    if (/^0[xb]/i.test(offered.user ?? "")) return "not authorised";
    if (offered.user !== user || offered.password !== password) return "not authorised";
  }
  // An initiator that wants proof of the target's identity ends the login when it gets none or a wrong one.
  if (offered.method !== "CHAP" || offered.targetPassword === undefined) return undefined;
  if (!required) return "target not trusted";
  const proved =
    secret(secrets, "userid_mutual") === offered.targetUser && secret(secrets, "password_mutual") === offered.targetPassword;
  return proved ? undefined : "target not trusted";
}

function secret(node: ConfigNode, name: string): string | undefined {
  const value = attributeOf(node, `auth/${name}`, "");
  return value === "" || value === "NULL" ? undefined : value;
}
