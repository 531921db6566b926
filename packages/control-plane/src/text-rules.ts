import { invalidField } from "@zfsilo/lib";

const maxDisplayName = 256;
const maxLabels = 64;
const maxLabelValue = 256;
const labelKey = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$/;
/** C0, DEL and C1: they end lines in logs and listings. */
// eslint-disable-next-line no-control-regex -- finding them is the purpose
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;

/** What nobody sees, or what turns around the text beside it: two names that look the same must be the same. Emoji keep their variation selectors. */
const invisibleCharacter = /(?![\ufe0e\ufe0f])[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

export function checkDisplayName(text: string, field: string): string {
  if (Array.from(text).length > maxDisplayName) throw invalidField(field, `is longer than ${maxDisplayName} characters`);
  return checkPlain(text, field);
}

export function checkLabels(labels: Readonly<Record<string, string>>, field: string): Readonly<Record<string, string>> {
  const entries = Object.entries(labels);
  if (entries.length > maxLabels) throw invalidField(field, `has more than ${maxLabels} entries`);
  for (const [key, value] of entries) {
    if (!labelKey.test(key)) {
      throw invalidField(
        field,
        `the key ${JSON.stringify(key.slice(0, 140))} is not of the right form`,
        "Use 1 to 128 letters, digits, '.', '_', '-' and '/', with a letter or digit first and last.",
      );
    }
    if (value.length > maxLabelValue) throw invalidField(`${field}.${key}`, `is longer than ${maxLabelValue} characters`);
    checkPlain(value, `${field}.${key}`);
  }
  // A fresh object without the prototype's surprises, in an order that does not depend on the caller's.
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Refuses control characters, invisible ones and lone surrogates, which no encoding can hold. */
export function checkPlain(text: string, field: string): string {
  if (controlCharacter.test(text)) throw invalidField(field, "has a control character");
  const invisible = invisibleCharacter.exec(text)?.[0].codePointAt(0);
  if (invisible !== undefined) {
    const code = `U+${invisible.toString(16).toUpperCase().padStart(4, "0")}`;
    throw invalidField(field, `has the invisible character ${code}`, "Leave out characters without a shape, and those that change the direction of text.");
  }
  if (/\p{Surrogate}/u.test(text)) throw invalidField(field, "is not valid Unicode");
  return text;
}
