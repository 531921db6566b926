/** What the arguments after a program (and its subcommand) may be. Everything else is refused. */
export interface Shape {
  /** Words that come first, e.g. `get` of `zfs get`. */
  readonly words?: readonly string[];
  /** Options without a value, in any number and order. */
  readonly flags?: readonly string[];
  /** Options whose value is the next argument. */
  readonly options?: Readonly<Record<string, RegExp>>;
  /** Flags and options without which the command is another one. */
  readonly required?: readonly string[];
  /** What the other arguments must match, one by one. */
  readonly operands?: readonly RegExp[];
  /** What any further ones must match; without it there are none. */
  readonly rest?: RegExp;
}

/** Whether the arguments fit. An operand that begins with "-" never does: a tool would read it as an option. */
export function fits(shape: Shape, args: readonly string[]): boolean {
  const { words = [], flags = [], options = {}, required = [], operands = [], rest } = shape;
  if (words.some((word, index) => args[index] !== word)) return false;
  const seen = new Set<string>();
  const plain: string[] = [];
  for (let at = words.length; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    const pattern = Object.hasOwn(options, arg) ? options[arg] : undefined;
    if (pattern !== undefined) {
      at += 1;
      const value = args[at];
      if (value === undefined || !pattern.test(value)) return false;
      seen.add(arg);
    } else if (flags.includes(arg)) {
      seen.add(arg);
    } else if (arg.startsWith("-")) {
      return false;
    } else {
      plain.push(arg);
    }
  }
  if (required.some((name) => !seen.has(name)) || plain.length < operands.length) return false;
  return plain.every((operand, index) => (operands[index] ?? rest)?.test(operand) === true);
}

/** The operands of arguments that fit, in order. */
export function operandsOf({ words = [], options = {} }: Shape, args: readonly string[]): string[] {
  const plain: string[] = [];
  for (let at = words.length; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    if (Object.hasOwn(options, arg)) at += 1;
    else if (!arg.startsWith("-")) plain.push(arg);
  }
  return plain;
}
