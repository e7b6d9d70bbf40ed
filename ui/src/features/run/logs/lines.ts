/** Log lines as rows of equal height: folded tracebacks, colours of the terminal, levels in words. Pure. */

import type { LogLine } from "../../../api/types";

export interface LogRow {
  line: LogLine;
  /** The n-th line of the message; 0 carries time and level. */
  part: number;
  text: string;
  /** On part 0 of a message of several lines: how many more there are. */
  more: number;
}

/** One row per visible line of text: messages of several lines are folded to their first, unless opened. */
export function rowsOfLines(lines: readonly LogLine[], opened: ReadonlySet<number>): LogRow[] {
  const out: LogRow[] = [];
  for (const line of lines) {
    const parts = line.message.split("\n");
    out.push({ line, part: 0, text: parts[0] ?? "", more: parts.length - 1 });
    if (parts.length > 1 && opened.has(line.n ?? 0)) {
      for (let i = 1; i < parts.length; i++) out.push({ line, part: i, text: parts[i] ?? "", more: 0 });
    }
  }
  return out;
}

/** What to say about a folded message: "Traceback, 12 lines: ValueError: no such column". */
export function foldWords(message: string): string {
  const parts = message.trimEnd().split("\n");
  const last = parts.at(-1)?.trim() ?? "";
  return message.includes("Traceback (most recent call last)")
    ? `traceback, ${parts.length - 1} lines: ${last}`
    : `${parts.length - 1} more lines`;
}

export const LEVELS = [
  { value: 10, name: "DEBUG" },
  { value: 20, name: "INFO" },
  { value: 30, name: "WARNING" },
  { value: 40, name: "ERROR" },
  { value: 50, name: "CRITICAL" },
] as const;

/** The name of the level at or below a number: 25 is still INFO. */
export function levelName(level: number): string {
  return LEVELS.findLast((l) => l.value <= level)?.name ?? "DEBUG";
}

export interface Span {
  text: string;
  /** `c31`, `bold`, … as class names. */
  classes: string;
}

const SGR = /\u001b\[([0-9;]*)m/g;

/** Text with the terminal's colours as spans. Other escape sequences are taken out. */
export function ansiSpans(text: string): Span[] {
  if (!text.includes("\u001b")) return [{ text, classes: "" }];
  const clean = text.replace(/\u001b\[[0-9;]*[A-LN-Za-ln-z]/g, "");
  const out: Span[] = [];
  const style = { color: "", bold: false };
  let from = 0;
  const push = (to: number): void => {
    if (to > from)
      out.push({
        text: clean.slice(from, to),
        classes: [style.color, style.bold ? "bold" : ""].filter(Boolean).join(" "),
      });
  };
  for (const found of clean.matchAll(SGR)) {
    push(found.index);
    from = found.index + found[0].length;
    for (const code of (found[1] || "0").split(";").map(Number)) restyle(style, code);
  }
  push(clean.length);
  return out;
}

function restyle(style: { color: string; bold: boolean }, code: number): void {
  if (code === 0) [style.color, style.bold] = ["", false];
  else if (code === 1) style.bold = true;
  else if (code === 22) style.bold = false;
  else if (code === 39) style.color = "";
  else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) style.color = `c${code % 10}`;
}
