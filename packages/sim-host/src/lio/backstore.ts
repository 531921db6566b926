import { deviceByPath, holdDevice, releaseDevice } from "../device.ts";
import { KernelError } from "../failure.ts";
import type { BackstoreDoc } from "../model.ts";
import { readOnly, stored, switches, type Attribute, type DirectoryRule, type MadeRule, type Place } from "./directory.ts";

/** target/core/iblock_N/NAME: a block device as LIO serves it (drivers/target/target_core_{configfs,iblock}.c). */

const holder = "lio";

/** A place in or below a backstore's directory: names are the HBA and the backstore. */
export function backstoreOf(place: Place): BackstoreDoc {
  return place.node as BackstoreDoc;
}

const control: Attribute = {
  readable: false,
  writable: true,
  /** Comma-separated options; those iblock does not know are passed over, as match_token does. */
  write(place, value) {
    for (const option of value.trim().split(",")) {
      if (!option.startsWith("udev_path=")) continue;
      if (backstoreOf(place).enabled) throw new KernelError("EEXIST", place.path);
      place.node.attributes = { ...place.node.attributes, opens: option.slice("udev_path=".length) };
    }
    return undefined;
  },
};

const enable: Attribute = {
  readable: true,
  writable: true,
  read: (place) => `${Number(backstoreOf(place).enabled)}\n`,
  write(place, value) {
    const backstore = backstoreOf(place);
    if (!value.includes("1")) throw new KernelError("EINVAL", place.path);
    if (backstore.enabled) throw new KernelError("EEXIST", place.path);
    const path = place.node.attributes?.["opens"];
    if (path === undefined) throw new KernelError("EINVAL", place.path);
    const device = deviceByPath(place.machine, path);
    if (device === undefined) throw new KernelError("ENOENT", path);
    holdDevice(place.machine, device, holder);
    backstore.enabled = true;
    backstore.device = device;
    return undefined;
  },
};

const serial: Attribute = {
  readable: true,
  writable: true,
  read: (place) => `T10 VPD Unit Serial Number: ${place.node.attributes?.["wwn/vpd_unit_serial"] ?? ""}\n`,
  write(place, value) {
    // A serial may not change under an initiator's feet.
    if (backstoreOf(place).exports.length > 0) throw new KernelError("EINVAL", place.path);
    if (value.trim().length > 254) throw new KernelError("EOVERFLOW", place.path);
    return value.trim();
  },
};

const udevPath: Attribute = {
  readable: true,
  writable: true,
  // Nothing at all, not even a newline, until one was written.
  read: (place) => (place.node.attributes?.["udev_path"] === undefined ? "" : `${place.node.attributes["udev_path"]}\n`),
};

const info = readOnly((place) => {
  const backstore = backstoreOf(place);
  const status = backstore.enabled ? "ACTIVATED" : "DEACTIVATED";
  return `Status: ${status}  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 2048\n        iBlock device: ${backstore.device ?? ""}  UDEV PATH: ${place.node.attributes?.["opens"] ?? ""}  readonly: 0\n`;
});

const attrib: Readonly<Record<string, Attribute>> = {
  ...switches({
    emulate_3pc: "1",
    emulate_caw: "1",
    emulate_dpo: "1",
    emulate_fua_read: "1",
    emulate_fua_write: "1",
    emulate_model_alias: "1",
    emulate_pr: "1",
    emulate_rest_reord: "0",
    emulate_tas: "1",
    emulate_tpu: "0",
    emulate_tpws: "0",
    emulate_write_cache: "0",
    enforce_pr_isids: "1",
    force_pr_aptpl: "0",
    is_nonrot: "1",
    unmap_zeroes_data: "0",
  }),
  ...stored({
    block_size: "512",
    emulate_ua_intlck_ctrl: "0",
    hw_block_size: "512",
    hw_max_sectors: "2048",
    hw_queue_depth: "128",
    max_unmap_block_desc_count: "1",
    max_unmap_lba_count: "8192",
    max_write_same_len: "65535",
    optimal_sectors: "2048",
    queue_depth: "128",
    unmap_granularity: "16",
    unmap_granularity_alignment: "0",
  }),
};

const backstore: DirectoryRule = {
  attributes: { control, enable, udev_path: udevPath, info, ...stored({ alias: "", alua_lu_gp: "" }) },
  groups: {
    attrib: { attributes: attrib },
    wwn: {
      attributes: {
        vpd_unit_serial: serial,
        ...stored({ vendor_id: "LIO-ORG", product_id: "IBLOCK", revision: "4.0", company_id: "0x001405" }),
      },
    },
    alua: {},
    pr: {},
    statistics: {},
  },
};

const backstores: MadeRule = {
  rule: backstore,
  check: () => undefined,
  list: (place) => place.machine.model.backstores.children(key(place)),
  open(place, name, edit) {
    const table = place.machine.model.backstores;
    return edit ? table.edit(`${key(place)}/${name}`) : table.get(`${key(place)}/${name}`);
  },
  add(place, name) {
    place.machine.model.backstores.put(`${key(place)}/${name}`, { enabled: false, exports: [] });
  },
  remove(place, name) {
    const table = place.machine.model.backstores;
    const found = table.get(`${key(place)}/${name}`);
    // configfs_detach_prep: a directory that a link points to is busy.
    if (found !== undefined && found.exports.length > 0) throw new KernelError("EBUSY", `${place.path}/${name}`);
    if (found?.device !== undefined) releaseDevice(place.machine, found.device, holder);
    table.delete(`${key(place)}/${name}`);
  },
};

const key = (place: Place): string => place.machine.at(place.names.join("/"));

const hba: DirectoryRule = {
  attributes: {
    hba_info: readOnly(() => "HBA Index: 1 plugin: iblock version: v5.0\n"),
    ...stored({ hba_mode: "0" }),
  },
  made: backstores,
};

/** target/core: only iblock HBAs are modelled. A name of another shape is one that core_alloc_hba refuses. */
export const core: DirectoryRule = {
  groups: { alua: { groups: { lu_gps: { groups: { default_lu_gp: {} } } } } },
  made: {
    rule: hba,
    check: (name) => (/^iblock_\d+$/.test(name) ? undefined : "EINVAL"),
    list: (place) => place.machine.model.hbas.children(place.machine.name),
    open(place, name, edit) {
      const table = place.machine.model.hbas;
      return edit ? table.edit(place.machine.at(name)) : table.get(place.machine.at(name));
    },
    add(place, name) {
      place.machine.loadModules("target_core_iblock");
      place.machine.model.hbas.put(place.machine.at(name), {});
    },
    remove(place, name) {
      place.machine.model.hbas.delete(place.machine.at(name));
    },
  },
};

