/** A request to the API server, as its authorizer saw it. */
export interface ApiCall {
  /** From the user agent: which of the account's programs asked. */
  readonly program: string;
  /** As permissions() writes it: group/resource:verb. */
  readonly permission: string;
  readonly namespace: string;
  readonly allowed: boolean;
}

/** A line of the audit log (audit.k8s.io/v1), as far as it is read. */
interface AuditEvent {
  readonly verb: string;
  readonly userAgent: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
  };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Requests for no resource, like those for the server's version, are everybody's and left out. */
export function parseAudit(log: string): ApiCall[] {
  // The last line may be half written.
  const lines = log.slice(0, log.lastIndexOf("\n") + 1).split("\n").filter((line) => line !== "");
  return lines.flatMap((line) => {
    const { verb, userAgent, objectRef, annotations } = JSON.parse(line) as AuditEvent;
    if (objectRef === undefined) return [];
    const { apiGroup = "", resource, subresource, namespace = "" } = objectRef;
    return {
      program: userAgent.split("/")[0] ?? "",
      permission: `${apiGroup}/${subresource === undefined ? resource : `${resource}/${subresource}`}:${verb}`,
      namespace,
      allowed: annotations?.["authorization.k8s.io/decision"] === "allow",
    };
  });
}
