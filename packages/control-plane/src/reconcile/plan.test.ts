import { describe, expect, it } from "vitest";
import { attachmentRecord, volumeRecord } from "../store/store-fixtures.ts";
import { differenceReasons, type Difference, type DifferenceReason } from "./compare.ts";
import { actionKey, actionsOf, planVolume, type Action, type Planned } from "./plan.ts";

const volume = volumeRecord("vol_a", { published: true, attachments: [attachmentRecord("vol_a", "hst_take", { state: "mounted" })] });

const atTarget = (reason: DifferenceReason, more: Partial<Difference> = {}): Difference => ({
  host: "hosts/hst_give",
  reason,
  expected: "",
  observed: "",
  ...more,
});
const atInitiator = (reason: DifferenceReason, host = "hst_take"): Difference => atTarget(reason, { host: `hosts/${host}` });

const outcome = (planned: readonly Planned[]): readonly string[] =>
  planned.map((one) => ("action" in one ? actionKey(one.action) : `left: ${one.why}`));

describe("what is done about one difference alone", () => {
  const table: Record<DifferenceReason, readonly [Difference, string | RegExp]> = {
    HOST_UNREACHABLE: [atInitiator("HOST_UNREACHABLE"), /^left: .*does not answer/],
    HOST_UNREADABLE: [atInitiator("HOST_UNREADABLE"), /^left: .*CheckHost/],
    DELETING: [atTarget("DELETING"), /^left: .*call it again/],
    RECORD_OUTDATED: [atTarget("RECORD_OUTDATED"), /^left: .*SyncVolume accept/],
    POOL_NOT_IMPORTED: [atTarget("POOL_NOT_IMPORTED"), /^left: .*import/],
    POOL_SUSPENDED: [atTarget("POOL_SUSPENDED"), /^left: .*zpool clear/],
    ZVOL_MISSING: [atTarget("ZVOL_MISSING"), /^left: .*never made anew/],
    FOREIGN_ZVOL: [atTarget("FOREIGN_ZVOL"), /^left: .*not ours/],
    ZVOL_SMALLER: [atTarget("ZVOL_SMALLER"), /^left: .*lost data/],
    ZVOL_LARGER: [atTarget("ZVOL_LARGER", { sizeBytes: 2n << 30n }), `finish-expansion ${2n << 30n}`],
    VOLUME_LOCKED: [atTarget("VOLUME_LOCKED"), /^left: .*LoadKey/],
    TARGET_MISSING: [atTarget("TARGET_MISSING"), "restore-export"],
    TARGET_INCOMPLETE: [atTarget("TARGET_INCOMPLETE"), "restore-export"],
    TARGET_UNEXPECTED: [atTarget("TARGET_UNEXPECTED"), /^left: .*PublishVolume/],
    PORTAL_OUTDATED: [atTarget("PORTAL_OUTDATED"), "restore-export"],
    INITIATOR_SHUT_OUT: [atTarget("INITIATOR_SHUT_OUT"), "restore-export"],
    WRITE_PROTECTION_WRONG: [atTarget("WRITE_PROTECTION_WRONG"), "restore-export"],
    INITIATOR_RENAMED: [{ ...atInitiator("INITIATOR_RENAMED"), renamed: { wait: "its session works" } }, "left: its session works"],
    INITIATOR_UNEXPECTED: [atTarget("INITIATOR_UNEXPECTED", { initiatorIqn: "iqn.a" }), "shut-out iqn.a"],
    SESSION_MISSING: [atInitiator("SESSION_MISSING"), "restore-session hst_take"],
    SESSION_DOWN: [atInitiator("SESSION_DOWN"), "restore-session hst_take"],
    DEVICE_MISSING: [atInitiator("DEVICE_MISSING"), "restore-session hst_take"],
    DEVICE_SMALLER: [atInitiator("DEVICE_SMALLER"), `finish-expansion ${1n << 30n}`],
    FILESYSTEM_SMALLER: [atInitiator("FILESYSTEM_SMALLER"), `finish-expansion ${1n << 30n}`],
    FILESYSTEM_READ_ONLY: [atInitiator("FILESYSTEM_READ_ONLY"), "restore-mounts hst_take"],
    STAGING_MOUNT_MISSING: [atInitiator("STAGING_MOUNT_MISSING"), "restore-mounts hst_take"],
    TARGET_MOUNT_MISSING: [atInitiator("TARGET_MOUNT_MISSING"), "restore-mounts hst_take"],
    SESSION_STALE: [atInitiator("SESSION_STALE", "hst_old"), "clean-initiator hst_old"],
    NODE_RECORD_STALE: [atInitiator("NODE_RECORD_STALE", "hst_old"), "clean-initiator hst_old"],
  };

  it.each(differenceReasons)("%s", (reason) => {
    const [difference, expected] = table[reason];
    expect(outcome(planVolume(volume, [difference]))).toEqual([typeof expected === "string" ? expected : expect.stringMatching(expected)]);
  });
});

it.each(differenceReasons)("nothing is done about %s while the record is older than its hosts", (reason) => {
  const other = { ...(reason.startsWith("SESSION") ? atInitiator(reason) : atTarget(reason)), initiatorIqn: "iqn.a" };
  const all = outcome(planVolume(volume, [other, atTarget("RECORD_OUTDATED")]));
  expect(all).toEqual([expect.stringMatching(/^left: /), expect.stringMatching(/^left: /)]);
});

describe("an initiator whose name has changed", () => {
  it("is let in under the new one by the repair of its session, whatever else is missing", () => {
    const renamed = { ...atInitiator("INITIATOR_RENAMED"), renamed: { to: "iqn.new" } };
    const actions = actionsOf(planVolume(volume, [renamed, atInitiator("SESSION_MISSING"), atInitiator("STAGING_MOUNT_MISSING")]));
    expect(actions).toEqual([
      { kind: "restore-session", hostId: "hst_take", renamedTo: "iqn.new" },
      { kind: "restore-mounts", hostId: "hst_take" },
    ]);
  });
});

describe("the export at portals that the host no longer has", () => {
  const old = (used: boolean): Difference => atTarget("PORTAL_OUTDATED", { oldPortals: { portals: [{ address: "192.0.2.9", port: 3260 }], used } });

  it("ends when nobody uses them", () => {
    expect(outcome(planVolume(volume, [old(false)]))).toEqual(["drop-portals"]);
  });

  it("stays for a session that may be there", () => {
    expect(outcome(planVolume(volume, [old(true)]))).toEqual([expect.stringMatching(/^left: a session that works is left alone/)]);
  });
});

describe("while there is nothing sound at the target", () => {
  const builds = [atTarget("TARGET_MISSING"), atInitiator("SESSION_MISSING"), atInitiator("STAGING_MOUNT_MISSING"), atInitiator("DEVICE_SMALLER")];
  const grounds = ["HOST_UNREACHABLE", "HOST_UNREADABLE", "DELETING", "POOL_NOT_IMPORTED", "POOL_SUSPENDED", "ZVOL_MISSING", "FOREIGN_ZVOL", "ZVOL_SMALLER", "VOLUME_LOCKED"] as const;

  it.each(grounds)("%s: nothing is built on it", (reason) => {
    const [, ...rest] = outcome(planVolume(volume, [atTarget(reason), ...builds]));
    expect(rest).toEqual(builds.map(() => `left: waits until ${reason} at hosts/hst_give is mended`));
  });

  it.each(grounds)("%s: access still ends and strangers are still cleaned up", (reason) => {
    const [, ...rest] = outcome(
      planVolume(volume, [atTarget(reason), atTarget("INITIATOR_UNEXPECTED", { initiatorIqn: "iqn.a" }), atInitiator("SESSION_STALE", "hst_old")]),
    );
    expect(rest).toEqual(["shut-out iqn.a", "clean-initiator hst_old"]);
  });
});

describe("a locked volume with a key file", () => {
  const encryption = { algorithm: "aes-256-gcm", keyFile: "/etc/zfsilo/keys/a", locked: true };

  it("is opened with its export, and only then", () => {
    const differences = [atTarget("VOLUME_LOCKED"), atTarget("TARGET_MISSING")];
    expect(outcome(planVolume({ ...volume, encryption }, differences))).toEqual(["restore-export", "restore-export"]);
    const idle = { ...volume, encryption, published: false, attachments: [] };
    expect(outcome(planVolume(idle, [atTarget("VOLUME_LOCKED")]))).toEqual([expect.stringMatching(/^left: PublishVolume/)]);
  });
});

it("one initiator that is away keeps growth waiting and nothing else", () => {
  const planned = planVolume(volume, [atTarget("ZVOL_LARGER", { sizeBytes: 2n << 30n }), atTarget("TARGET_MISSING"), atInitiator("HOST_UNREACHABLE")]);
  expect(outcome(planned)).toEqual([
    expect.stringMatching(/^left: waits until hosts\/hst_take answers/),
    "restore-export",
    expect.stringMatching(/^left: the host does not answer/),
  ]);
});

it("each action is taken once, in the order that works", () => {
  const planned = planVolume(volume, [
    atInitiator("SESSION_STALE", "hst_old"),
    atInitiator("TARGET_MOUNT_MISSING"),
    atInitiator("STAGING_MOUNT_MISSING"),
    atInitiator("SESSION_MISSING"),
    atTarget("ZVOL_LARGER", { sizeBytes: 2n << 30n }),
    atTarget("TARGET_INCOMPLETE"),
    atTarget("INITIATOR_SHUT_OUT"),
    atTarget("INITIATOR_UNEXPECTED", { initiatorIqn: "iqn.b" }),
    atTarget("INITIATOR_UNEXPECTED", { initiatorIqn: "iqn.a" }),
  ]);
  expect(actionsOf(planned).map((action: Action) => actionKey(action))).toEqual([
    "shut-out iqn.b",
    "shut-out iqn.a",
    "restore-export",
    "restore-session hst_take",
    `finish-expansion ${2n << 30n}`,
    "restore-mounts hst_take",
    "clean-initiator hst_old",
  ]);
});
