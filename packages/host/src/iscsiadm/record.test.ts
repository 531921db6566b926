import { Secret } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { parseIqn, parsePortal } from "../lio/names.ts";
import { formatInterface, formatRecord, readSetting, recordPath, requireRecord, type NodeRecord } from "./record.ts";

const record: NodeRecord = {
  target: parseIqn("iqn.2026-01.io.zfsilo:0123456789abcdef"),
  portal: parsePortal({ address: "10.9.0.2", port: 3260 }),
  chap: { userid: "user1", password: new Secret("open sesame") },
  replacementTimeoutSeconds: 120,
};

describe("node records", () => {
  it("are written as open-iscsi keeps them", () => {
    expect(formatRecord(record).split("\n")).toEqual([
      "# BEGIN RECORD 2.1.8",
      "node.name = iqn.2026-01.io.zfsilo:0123456789abcdef",
      "node.tpgt = 1",
      "node.startup = manual",
      "iface.iscsi_ifacename = default",
      "iface.transport_name = tcp",
      "node.session.auth.authmethod = CHAP",
      "node.session.auth.username = user1",
      "node.session.auth.password = open sesame",
      "node.session.timeo.replacement_timeout = 120",
      "node.session.initial_login_retry_max = 2",
      "node.conn[0].address = 10.9.0.2",
      "node.conn[0].port = 3260",
      "node.conn[0].timeo.login_timeout = 10",
      "# END RECORD",
      "",
    ]);
  });

  it("carry mutual CHAP and a second identity", () => {
    const iface = { name: "second", initiatorName: parseIqn("iqn.2026-01.io.zfsilo.vm:second") };
    const chap = { userid: "u", password: new Secret("p"), mutualUserid: "mu", mutualPassword: new Secret("mp") };
    const text = formatRecord({ ...record, chap, iface });
    expect(readSetting(text, "node.session.auth.username_in")).toBe("mu");
    expect(readSetting(text, "node.session.auth.password_in")).toBe("mp");
    expect(readSetting(text, "iface.iscsi_ifacename")).toBe("second");
    expect(readSetting(text, "iface.initiatorname")).toBe("iqn.2026-01.io.zfsilo.vm:second");
    expect(readSetting(formatInterface(iface), "iface.initiatorname")).toBe("iqn.2026-01.io.zfsilo.vm:second");
  });

  it("say None without CHAP", () => {
    const { chap: _, ...open } = record;
    expect(readSetting(formatRecord(open), "node.session.auth.authmethod")).toBe("None");
    expect(readSetting(formatRecord(open), "node.session.auth.username")).toBeUndefined();
  });

  it("lie where open-iscsi looks, IPv6 without brackets", () => {
    const portal = parsePortal({ address: "fd00::1", port: 3260 });
    expect(recordPath("/etc/iscsi", { ...record, portal })).toBe(
      "/etc/iscsi/nodes/iqn.2026-01.io.zfsilo:0123456789abcdef/fd00::1,3260,1/default",
    );
  });

  it.each([
    { chap: { userid: "a\nnode.startup = automatic", password: new Secret("p") } },
    { chap: { userid: "u", password: new Secret(" p") } },
    { chap: { userid: "u", password: new Secret("") } },
    { chap: { userid: "u", password: new Secret("p"), mutualUserid: "x" } },
    { iface: { name: "../x", initiatorName: record.target } },
    { iface: { name: "default", initiatorName: record.target } },
    { replacementTimeoutSeconds: 0 },
    { replacementTimeoutSeconds: 1.5 },
  ])("are refused when they would not read back (%#)", (bad) => {
    expect(() => {
      requireRecord({ ...record, ...bad });
    }).toThrow(expect.objectContaining({ reason: "invalid_argument" }));
  });
});

describe("readSetting", () => {
  it("skips comments", () => {
    const text = "## DO NOT EDIT\n#InitiatorName=iqn.x\nInitiatorName=iqn.1993-08.org.debian:01:a\n";
    expect(readSetting(text, "InitiatorName")).toBe("iqn.1993-08.org.debian:01:a");
    expect(readSetting("", "InitiatorName")).toBeUndefined();
  });
});
