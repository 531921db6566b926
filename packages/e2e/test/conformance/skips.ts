/** Specs that are skipped here, by the end of their name, and why nothing else can be done about it. */
export const allowedSkips: Readonly<Record<string, string>> = {
  "should fail when publishing more volumes than the node max attach limit":
    "no node has a limit here unless its operator sets one, and csi-sanity runs the spec only when told that there is one",
  "should fail when the volume is already published but is incompatible":
    "it publishes read-only, and PUBLISH_READONLY is not offered: nodes mount read-only instead",
};

/** What csi-sanity says when it skips a spec, and the word of GetServerInfo without which that is right. */
export const skipsWithout: readonly { readonly feature: string; readonly message: RegExp }[] = [
  { feature: "snapshots", message: /^(?:Snapshot|CreateSnapshot|DeleteSnapshot|ListSnapshots) not supported$/ },
  { feature: "clones", message: /^(?:Volume Cloning|Snapshot) not supported$/ },
  { feature: "group-snapshots", message: /^(?:GroupControllerService|VolumeGroupSnapshots) not supported$/ },
];

/** Specs that csi-sanity itself has switched off. */
export const pendingSpecs = ["pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted"];
