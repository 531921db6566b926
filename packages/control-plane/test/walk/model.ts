import { refused } from "./walker.ts";

/** What the API promises, in a few lines: a volume's place on the ladder and which calls move it. */
export const walkHosts = ["hst_take", "hst_tap"] as const;
export type WalkHost = (typeof walkHosts)[number];

export const walkVolumes = ["vol_files", "vol_block"] as const;
export type WalkVolume = (typeof walkVolumes)[number];

export type Call =
  | { readonly kind: "create" | "delete" | "publish" | "unpublish" | "grow" }
  | { readonly kind: "connect" | "disconnect" | "force-disconnect" | "stage" | "unstage" | "mount" | "unmount"; readonly host: WalkHost };

export type CallKind = Call["kind"];

interface Attached {
  readonly staged: boolean;
  readonly mounted: boolean;
}

export interface VolumeModel {
  readonly published: boolean;
  readonly grown: boolean;
  readonly attached: Readonly<Partial<Record<WalkHost, Attached>>>;
}

/** Undefined: there is no such volume. */
export type Model = VolumeModel | undefined;

const fresh: VolumeModel = { published: false, grown: false, attached: {} };

/** Where a call leads from a state, or that it must be refused and change nothing. */
export function after(volume: WalkVolume, model: Model, call: Call): Model | typeof refused {
  if (call.kind === "create") return model ?? fresh;
  if (model === undefined) return call.kind === "delete" ? undefined : refused;
  const connected = Object.keys(model.attached).length;
  switch (call.kind) {
    case "delete":
      return model.published ? refused : undefined;
    case "publish":
      return { ...model, published: true };
    case "unpublish":
      return connected > 0 ? refused : { ...model, published: false };
    case "grow":
      return { ...model, grown: true };
    case "connect":
      if (model.attached[call.host] !== undefined) return model;
      if (!model.published || (volume === "vol_files" && connected > 0)) return refused;
      return attach(model, call.host, { staged: false, mounted: false });
    case "disconnect":
      return model.attached[call.host]?.staged === true ? refused : detach(model, call.host);
    case "force-disconnect":
      return detach(model, call.host);
    case "stage":
    case "unstage":
    case "mount":
    case "unmount":
      return onHost(model, call.kind, call.host);
  }
}

function onHost(model: VolumeModel, kind: "stage" | "unstage" | "mount" | "unmount", host: WalkHost): VolumeModel | typeof refused {
  const here = model.attached[host];
  switch (kind) {
    case "stage":
      return here === undefined ? refused : attach(model, host, { ...here, staged: true });
    case "unstage":
      if (here === undefined) return model;
      return here.mounted ? refused : attach(model, host, { ...here, staged: false });
    case "mount":
      return here?.staged === true ? attach(model, host, { ...here, mounted: true }) : refused;
    case "unmount":
      return here === undefined ? model : attach(model, host, { ...here, mounted: false });
  }
}

function attach(model: VolumeModel, host: WalkHost, state: Attached): VolumeModel {
  return { ...model, attached: { ...model.attached, [host]: state } };
}

function detach(model: VolumeModel, host: WalkHost): VolumeModel {
  const attached = Object.fromEntries(Object.entries(model.attached).filter(([name]) => name !== host));
  return { ...model, attached };
}
