import { dropSessions, sessionsOf } from "../iscsi/nexus.ts";
import { KernelError } from "../failure.ts";
import type { ConfigNode } from "../model.ts";
import {
  nested,
  parseSwitch,
  readOnly,
  stored,
  switches,
  type Attribute,
  type DirectoryRule,
  type LinkRule,
  type MadeRule,
  type Place,
} from "./directory.ts";

/** target/iscsi: targets, portal groups, LUNs, portals and ACLs (drivers/target/iscsi, target_core_fabric_configfs.c). */

const root = "/sys/kernel/config/target";

/** Links a LUN to a backstore, which must be enabled. */
const lunLink: LinkRule = {
  link(place, name, target) {
    const [hba, backstore, ...more] = target.names;
    if (!target.path.startsWith(`${root}/core/`) || hba === undefined || backstore === undefined || more.length > 0) {
      throw new KernelError("EPERM", place.path);
    }
    const document = place.machine.model.backstores.edit(place.machine.at(`${hba}/${backstore}`));
    if (document?.enabled !== true) throw new KernelError("ENODEV", place.path);
    document.exports.push(place.path);
    place.node.links = { [name]: target.path };
  },
  unlink(place, _name, target) {
    const document = place.machine.model.backstores.edit(place.machine.at(target.slice(`${root}/core/`.length)));
    if (document !== undefined) document.exports = document.exports.filter((path) => path !== place.path);
    delete place.node.links;
  },
};

const lun: DirectoryRule = {
  attributes: stored({ alua_tg_pt_gp: "", alua_tg_pt_offline: "0", alua_tg_pt_status: "0", alua_tg_pt_write_md: "0" }),
  groups: { statistics: {} },
  links: lunLink,
};

/** Links a mapped LUN to a LUN of the same portal group that has a backstore. */
const mappedLink: LinkRule = {
  link(place, name, target) {
    const [iqn, group] = place.names;
    if (target.names[0] !== iqn || target.names[1] !== group || target.names.length !== 3) {
      throw new KernelError(target.path.startsWith(`${root}/iscsi/`) ? "EINVAL" : "EPERM", place.path);
    }
    if (target.node.links === undefined) throw new KernelError("EINVAL", place.path);
    place.node.links = { [name]: target.path };
  },
  unlink(place) {
    // The session lives on, with LIO's null device in the place of LUN 0.
    delete place.node.links;
  },
};

const mappedLun: DirectoryRule = {
  attributes: {
    write_protect: {
      readable: true,
      writable: true,
      read: (place) => (place.node.links === undefined ? "" : `${place.node.attributes?.["write_protect"] ?? "0"}\n`),
      write: (place, value) => parseSwitch(place, value),
    },
  },
  groups: { statistics: {} },
  links: mappedLink,
};

/** Kept to the byte, a trailing newline too; `NULL` unsets. Reads give everything back in clear. */
const credential: Attribute = {
  initial: "",
  readable: true,
  writable: true,
  write: (_place, value) => (value.startsWith("NULL") ? "NULL" : value),
};

const chap: DirectoryRule = {
  attributes: {
    userid: credential,
    password: credential,
    userid_mutual: credential,
    password_mutual: credential,
    authenticate_target: readOnly((place) => {
      const set = (name: string): boolean => !["", "NULL"].includes(place.node.attributes?.[`auth/${name}`] ?? "");
      return `${Number(set("userid_mutual") && set("password_mutual"))}\n`;
    }),
  },
};

const acl: DirectoryRule = {
  attributes: {
    info: readOnly((place) => {
      const [iqn = "", , initiator = ""] = place.names;
      const [session] = sessionsOf(place.machine, iqn, initiator);
      if (session === undefined) return `No active iSCSI Session for Initiator Endpoint: ${initiator}\n`;
      return `InitiatorName: ${initiator}\nInitiatorAlias: \nLIO Session ID: ${session.session}   ISID: 0x00 02 3d 00 00 00  TSIH: ${session.session}  SessionType: Normal\nSession State: TARG_SESS_STATE_LOGGED_IN\n`;
    }),
    ...stored({ cmdsn_depth: "64", tag: "" }),
  },
  groups: {
    attrib: {
      attributes: stored({ dataout_timeout: "3", dataout_timeout_retries: "5", default_erl: "0", nopin_timeout: "15" }),
    },
    auth: chap,
    param: {},
    fabric_statistics: {},
  },
  made: nested(mappedLun, (name) => (/^lun_\d+$/.test(name) ? undefined : "EINVAL")),
};

const enable: Attribute = {
  initial: "0",
  readable: true,
  writable: true,
  write(place, value) {
    const wanted = parseSwitch(place, value);
    // Enabling what is enabled, and the reverse, is done (target_fabric_tpg_base_enable_store, kernel 6.1).
    if (wanted === "0") dropSessions(place.machine, place.names[0] ?? "");
    return wanted;
  },
};

const portals = nested(
  { attributes: switches({ iser: "0", cxgbit: "0" }) },
  (name) => (/^(?:[0-9.]+|\[[0-9a-fA-F:.]+\]):\d{1,5}$/.test(name) ? undefined : "EINVAL"),
  {
    added(place, name) {
      // The address cannot be bound, and whatever hinders a portal is EINVAL (target_fabric_make_np).
      if (place.machine.model.listeners.children(place.machine.name).some((other) => clash(other, name))) {
        throw new KernelError("EINVAL", `${place.path}/${name}`);
      }
      countListener(place, name, 1);
    },
    removing(place, name) {
      countListener(place, name, -1);
    },
  },
);

function countListener(place: Place, portal: string, change: 1 | -1): void {
  const { listeners } = place.machine.model;
  const key = place.machine.at(portal);
  const value = (listeners.get(key)?.value ?? 0) + change;
  if (value === 0) listeners.delete(key);
  else listeners.put(key, { value });
}

/** A wildcard and an address with the same port. `[::]` takes IPv4 as well. The very same portal is shared. */
function clash(a: string, b: string): boolean {
  const [addressA = "", portA = ""] = splitPortal(a);
  const [addressB = "", portB = ""] = splitPortal(b);
  if (portA !== portB || addressA === addressB) return false;
  if (addressA === "[::]" || addressB === "[::]") return true;
  return addressA.startsWith("[") === addressB.startsWith("[") && (addressA === "0.0.0.0" || addressB === "0.0.0.0");
}

function splitPortal(portal: string): readonly string[] {
  const cut = portal.lastIndexOf(":");
  return [portal.slice(0, cut), portal.slice(cut + 1)];
}

const portalGroup: DirectoryRule = {
  attributes: { enable, ...stored({ dynamic_sessions: "", rtpi: "1" }) },
  groups: {
    acls: {
      made: nested(acl, () => undefined, {
        removing(place, name) {
          dropSessions(place.machine, place.names[0] ?? "", name);
        },
      }),
    },
    attrib: {
      attributes: {
        ...switches({
          authentication: "1",
          cache_dynamic_acls: "0",
          demo_mode_discovery: "1",
          demo_mode_write_protect: "1",
          generate_node_acls: "0",
          prod_mode_write_protect: "0",
          t10_pi: "0",
          tpg_enabled_sendtargets: "1",
        }),
        ...stored({ default_cmdsn_depth: "64", default_erl: "0", login_timeout: "15", netif_timeout: "2" }),
      },
    },
    auth: chap,
    lun: {
      made: nested(lun, (name) => (/^lun_\d+$/.test(name) ? undefined : "EINVAL"), {
        isLinked: (place, name) => isMapped(place.node, `${place.path}/${name}`),
      }),
    },
    np: { made: portals },
    param: { attributes: stored({ AuthMethod: "CHAP,None" }) },
  },
};

function isMapped(group: ConfigNode, lunPath: string): boolean {
  return Object.values(group.children ?? {}).some((entry) =>
    Object.values(entry.children ?? {}).some((mapped) => Object.values(mapped.links ?? {}).includes(lunPath)),
  );
}

const targets: MadeRule = {
  rule: {
    groups: {
      fabric_statistics: {
        groups: {
          iscsi_instance: {
            attributes: { sessions: readOnly((place) => `${sessionsOf(place.machine, place.names[0] ?? "").length}\n`) },
          },
        },
      },
      param: {},
    },
    made: nested(portalGroup, (name) => (/^tpgt_\d{1,5}$/.test(name) ? undefined : "EINVAL"), {
      removing(place) {
        dropSessions(place.machine, place.names[0] ?? "");
      },
    }),
  },
  check: () => undefined,
  list: (place) => place.machine.model.targets.children(place.machine.name),
  open(place, name, edit) {
    const table = place.machine.model.targets;
    return edit ? table.edit(place.machine.at(name)) : table.get(place.machine.at(name));
  },
  add(place, name) {
    place.machine.model.targets.put(place.machine.at(name), {});
  },
  remove(place, name) {
    place.machine.model.targets.delete(place.machine.at(name));
  },
};

/** target/iscsi. Its document, keyed by the machine alone, says that it has been made. */
export const iscsi: DirectoryRule = {
  attributes: { ...stored({ cpus_allowed_list: "0" }), lio_version: readOnly(() => "Datera Inc. iSCSI Target v4.1.0\n") },
  groups: { discovery_auth: chap },
  made: targets,
};
