/** Words of a caller come back in errors no longer than this. */
const maxWord = 256;

/** Cuts what has no space in it: paths, ids and keys that somebody made up. */
export function withShortWords(text: string): string {
  return text.replaceAll(/\S{257,}/g, (word) => `${word.slice(0, maxWord)}…`);
}

/** A text of at most `maxBytes` bytes in UTF-8: what is cut off is said at the end. */
export function shortened(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  const note = ` … (${bytes.length} bytes in all)`;
  let end = maxBytes - Buffer.byteLength(note);
  // Not in the middle of a character: bytes 10xxxxxx continue one.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString() + note;
}
