/** C0 controls, DEL and C1 controls: none of them belongs in a name, an option or a path, and some end a line or a field. */
// eslint-disable-next-line no-control-regex -- finding them is the purpose
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;

export function hasControlCharacter(text: string): boolean {
  return controlCharacter.test(text);
}
