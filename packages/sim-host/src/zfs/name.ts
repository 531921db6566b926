/** What is wrong with a dataset or snapshot name, in the words of zfs (zfs_validate_name, ZFS 2.1.11). */
export function nameProblem(name: string, snapshot = false): string | undefined {
  const [dataset = "", tail, ...more] = name.split("@");
  if (!snapshot && tail !== undefined) return "snapshot delimiter '@' is not expected here";
  if (snapshot && (tail === undefined || tail === "" || more.length > 0)) {
    return tail === undefined ? "missing '@' delimiter in snapshot name" : "empty component or misplaced '@' or '#' delimiter in name";
  }
  // ZFS_MAX_DATASET_NAME_LEN is 256 with the end mark.
  if (Buffer.byteLength(name) > 255) return "name is too long";
  if (name.startsWith("/")) return "leading slash in name";
  if (dataset.endsWith("/")) return "trailing slash in name";
  const bad = /[^A-Za-z0-9\-_.:/@ ]/.exec(name);
  if (bad !== null) return `invalid character '${bad[0]}' in name`;
  const parts = dataset.split("/");
  if (parts.includes("")) return "empty component or misplaced '@' or '#' delimiter in name";
  if (parts.includes(".")) return "self reference, '.' is found in name";
  if (parts.includes("..")) return "parent reference, '..' is found in name";
  if (!/^[A-Za-z]/.test(dataset)) return "name must begin with a letter";
  return undefined;
}
