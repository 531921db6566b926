/** Specs that are skipped here, by the end of their name, and why nothing else can be done about it. */
const byName: Readonly<Record<string, string>> = {
  "should fail when publishing more volumes than the node max attach limit":
    "no node has a limit here unless its operator sets one, and csi-sanity runs the spec only when told that there is one",
};

/** Methods and capabilities that version 1.13 of CSI added, as csi-sanity names them when it skips. */
const later = /^(?:Controller(?:Get|List)VolumeHealth|NodeGet(?:Volume|Storage)Health|SNAPSHOT_ACCESSIBILITY_CONSTRAINTS) not supported$/;

/** Why a skip is right; undefined when it is not. */
export function skipReason({ name, message }: { readonly name: string; readonly message: string }): string | undefined {
  if (later.test(message)) return "it came with CSI 1.13, and the driver speaks 1.12";
  return Object.entries(byName).find(([end]) => name.endsWith(end))?.[1];
}

/** Specs that csi-sanity itself has switched off. */
export const pendingSpecs = ["pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted"];
