import type { Machine } from "../machine.ts";
import type { DatasetDoc, SnapshotDoc } from "../model.ts";
import { clonesOf, effective, findDataset, keyIsLoaded, rootNameOf, snapshotKey } from "./datasets.ts";
import { usedBySnapshot, writtenByDataset, writtenBySnapshot } from "./lineage.ts";
import { isUserProperty, ruleOf, type DatasetKind } from "./properties.ts";
import { available, usage } from "./space.ts";

/** A property's value as `zfs get -p` prints it, and its source. `-` and `-` when it does not apply or is not set. */
export interface Shown {
  readonly value: string;
  readonly source: string;
}

const absent: Shown = { value: "-", source: "-" };
const fact = (value: bigint | number | string): Shown => ({ value: value.toString(), source: "-" });

export function showProperty(machine: Machine, name: string, property: string): Shown {
  return propertiesOf(machine, name)(property);
}

/** For many properties of one dataset, which is looked up once. */
export function propertiesOf(machine: Machine, name: string): (property: string) => Shown {
  if (name.includes("@")) {
    const snapshot = machine.model.snapshots.get(snapshotKey(machine, name));
    return (property) => {
      if (property === "name") return fact(name);
      if (isUserProperty(property)) return showSnapshotUser(machine, name, snapshot, property);
      if (snapshot === undefined || !applies(property, "snapshot")) return absent;
      return showSnapshot(machine, name, snapshot, property);
    };
  }
  const dataset = findDataset(machine, name);
  return (property) => {
    if (property === "name") return fact(name);
    if (isUserProperty(property)) return effective(machine, name, property, dataset) ?? absent;
    if (dataset === undefined || !applies(property, dataset.type)) return absent;
    if (ruleOf(property)?.access === "computed") return showComputed(machine, name, dataset, property);
    return showSetting(machine, name, dataset, property);
  };
}

function applies(property: string, kind: DatasetKind): boolean {
  return ruleOf(property)?.on.includes(kind) === true;
}

/** Snapshots take the user properties of their dataset unless they have their own. */
function showSnapshotUser(machine: Machine, name: string, snapshot: SnapshotDoc | undefined, property: string): Shown {
  const own = snapshot?.props[property];
  if (own !== undefined) return { value: own, source: "local" };
  const [dataset = name] = name.split("@", 1);
  const found = effective(machine, dataset, property);
  if (found === undefined) return absent;
  return { value: found.value, source: found.source === "local" ? `inherited from ${dataset}` : found.source };
}

function showSetting(machine: Machine, name: string, dataset: DatasetDoc, property: string): Shown {
  const { encryption } = dataset;
  if (encryption !== undefined && property === "encryption") return fact(encryption.algorithm);
  if (encryption !== undefined && property === "keyformat") return fact(encryption.format);
  if (encryption !== undefined && property === "keylocation" && dataset.origin === undefined) return { value: encryption.location, source: "local" };
  const found = effective(machine, name, property, dataset);
  if (property !== "mountpoint" || found?.source === "local") return found ?? absent;
  return mountpointOf(machine, name);
}

/** A mountpoint that is not set here is the place of the ancestor that sets one, and the rest of the name. */
function mountpointOf(machine: Machine, name: string): Shown {
  const inherited = effective(machine, name, "mountpoint");
  if (inherited === undefined) return { value: `/${name}`, source: "default" };
  const from = inherited.source.replace("inherited from ", "");
  const fixed = inherited.value === "none" || inherited.value === "legacy";
  return { value: fixed ? inherited.value : `${inherited.value}${name.slice(from.length)}`, source: inherited.source };
}

function showComputed(machine: Machine, name: string, dataset: DatasetDoc, property: string): Shown {
  const used = usage(dataset);
  const referenced = BigInt(dataset.space.referenced) + BigInt(dataset.space.inherited);
  switch (property) {
    case "type":
      return fact(dataset.type);
    case "creation":
      return fact(dataset.created);
    case "guid":
      return fact(dataset.guid);
    case "createtxg":
      return fact(dataset.createTxg);
    case "used":
      return fact(used.total);
    case "available":
      return fact(available(machine.model, machine.at(name)));
    case "referenced":
    case "logicalreferenced":
      return fact(referenced);
    case "logicalused":
      return fact(used.dataset + used.snapshots + used.children);
    case "usedbydataset":
      return fact(used.dataset);
    case "usedbysnapshots":
      return fact(used.snapshots);
    case "usedbyrefreservation":
      return fact(used.refreservation);
    case "usedbychildren":
      return fact(used.children);
    case "written":
      return fact(writtenByDataset(machine, name, dataset));
    case "compressratio":
    case "refcompressratio":
      return fact("1.00");
    case "origin":
      return dataset.origin === undefined ? absent : fact(dataset.origin);
    case "keystatus":
      return dataset.encryption === undefined ? absent : fact(keyIsLoaded(machine, dataset.encryption) ? "available" : "unavailable");
    case "encryptionroot":
      return dataset.encryption === undefined ? absent : fact(rootNameOf(machine, name));
    case "mounted":
      return fact(isMounted(machine, name) ? "yes" : "no");
    default:
      return absent;
  }
}

export function isMounted(machine: Machine, name: string): boolean {
  const place = showProperty(machine, name, "mountpoint").value;
  return place.startsWith("/") && effective(machine, name, "canmount")?.value === "on";
}

function showSnapshot(machine: Machine, name: string, snapshot: SnapshotDoc, property: string): Shown {
  switch (property) {
    case "type":
      return fact("snapshot");
    case "creation":
      return fact(snapshot.created);
    case "guid":
      return fact(snapshot.guid);
    case "createtxg":
      return fact(snapshot.createTxg);
    case "used":
      return fact(usedBySnapshot(machine, name));
    case "written":
      return fact(writtenBySnapshot(machine, name));
    case "referenced":
    case "logicalreferenced":
      return fact(snapshot.referenced);
    case "volsize":
      return snapshot.volsize === undefined ? absent : fact(snapshot.volsize);
    case "compressratio":
    case "refcompressratio":
      return fact("1.00");
    case "clones":
      return fact(clonesOf(machine, name).join(",") || "-");
    case "userrefs":
      return fact(Object.keys(snapshot.holds).length);
    case "defer_destroy":
      return fact(snapshot.deferred === true ? "on" : "off");
    default:
      return absent;
  }
}
