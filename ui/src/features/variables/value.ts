/** A variable's value as people type it: JSON if it reads as such, text otherwise. */

import type { Json } from "../../api/types";

export function valueOf(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

/** What to type to get this value back. */
export function typed(value: Json | undefined): string {
  if (typeof value === "string") return valueOf(value) === value ? value : JSON.stringify(value);
  return JSON.stringify(value ?? null);
}

/** What `valueOf` makes of the text, in words: so that 42 and "42" are not mixed up. */
export function kindOf(text: string): string {
  const value = valueOf(text);
  if (value === null) return "null";
  return Array.isArray(value) ? "list" : typeof value === "string" ? "text" : typeof value;
}

/** The command that does the same. */
export function setCommand(name: string, text: string, tags: string[], overwrite: boolean): string {
  const quote = (word: string): string => (/^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  const words = [
    "legato variable set",
    quote(name || "NAME"),
    quote(text || "VALUE"),
    ...tags.map((t) => `-t ${quote(t)}`),
  ];
  return [...words, ...(overwrite ? ["--overwrite"] : [])].join(" ");
}
