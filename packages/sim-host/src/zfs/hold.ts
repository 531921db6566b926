import { UnmodelledError } from "../failure.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { getSnapshot, snapshotKey } from "./datasets.ts";
import { reapSnapshot } from "./destroy.ts";

export const zfsHold: Program = (machine, args) => {
  const [tag, name] = parseOptions("zfs hold", args, {}).rest;
  if (tag === undefined || name === undefined) throw new ToolFailure(2, "missing tag or snapshot argument");
  if (getSnapshot(machine, name).holds[tag] !== undefined) {
    throw new ToolFailure(1, `cannot hold snapshot '${name}': tag already exists on this dataset`);
  }
  const snapshot = machine.model.snapshots.edit(snapshotKey(machine, name));
  if (snapshot !== undefined) snapshot.holds[tag] = machine.seconds();
  return done();
};

export const zfsRelease: Program = (machine, args) => {
  const [tag, name] = parseOptions("zfs release", args, {}).rest;
  if (tag === undefined || name === undefined) throw new ToolFailure(2, "missing tag or snapshot argument");
  if (getSnapshot(machine, name).holds[tag] === undefined) {
    throw new ToolFailure(1, `cannot release hold from snapshot '${name}': no such tag on this dataset`);
  }
  const snapshot = machine.model.snapshots.edit(snapshotKey(machine, name));
  if (snapshot !== undefined) {
    snapshot.holds = Object.fromEntries(Object.entries(snapshot.holds).filter(([key]) => key !== tag));
  }
  reapSnapshot(machine, name);
  return done();
};

/** `NAME\tTAG\tDATE`, a line a tag. */
export const zfsHolds: Program = (machine, args) => {
  const options = parseOptions("zfs holds", args, { flags: ["-H"] });
  if (!options.flags.has("-H")) throw new UnmodelledError("zfs holds without -H");
  const lines = options.rest.flatMap((name) =>
    Object.entries(getSnapshot(machine, name).holds).map(([tag, seconds]) => `${name}\t${tag}\t${holdDate(seconds)}\n`),
  );
  return done(lines.join(""));
};

/** `Sat Nov 21 10:15 2026`, in UTC. */
function holdDate(seconds: number): string {
  const words = new Date(seconds * 1000).toUTCString().replace(",", "").split(" ");
  const [weekday = "", day = "", month = "", year = "", time = ""] = words;
  return `${weekday} ${month} ${day.replace(/^0/, " ")} ${time.slice(0, 5)} ${year}`;
}
