/**
 * Markdown as a tree: what people write in reports (headings, lists, tables, code, quotes, links, emphasis), and no HTML at all.
 * What the tree does not know is text. It is drawn with elements, never with `innerHTML`, so nothing in it can run.
 * Linear in the text's length: reports may have a megabyte.
 */

export type Inline =
  | { kind: "text" | "code"; text: string }
  | { kind: "strong" | "em" | "del"; children: Inline[] }
  | { kind: "link"; href: string; children: Inline[] }
  | { kind: "break" };

export type Align = "left" | "right" | "center" | "";

export type Block =
  | { kind: "heading"; level: number; inline: Inline[] }
  | { kind: "paragraph"; inline: Inline[] }
  | { kind: "code"; text: string; language: string }
  | { kind: "quote"; blocks: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] }
  | { kind: "table"; align: Align[]; head: Inline[][]; rows: Inline[][][] }
  | { kind: "rule" };

/** Quotes and lists inside each other; deeper ones are text. */
const DEEPEST = 8;
/** Characters of a link's text or address. */
const LONGEST_LINK = 2_000;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+|$)/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

export function parseMarkdown(text: string): Block[] {
  return blocksOf(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocksOf(lines: string[], depth: number): Block[] {
  const out: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = blockAt(lines, at, depth);
    if (block) out.push(block);
    at = next;
  }
  return out;
}

/** The block that begins on this line, and the line after it. */
function blockAt(lines: string[], at: number, depth: number): [Block | null, number] {
  const line = lines[at] ?? "";
  if (line.trim() === "") return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return codeAt(lines, at, fence[1] ?? "```", fence[2] ?? "");
  const heading = HEADING.exec(line);
  if (heading)
    return [{ kind: "heading", level: heading[1]?.length ?? 1, inline: parseInline(heading[2] ?? "") }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) return quoteAt(lines, at, depth);
  if (depth < DEEPEST && ITEM.test(line)) return listAt(lines, at, depth);
  if (
    line.includes("|") &&
    DIVIDER.test(lines[at + 1] ?? "") &&
    cellsOf(line).length === cellsOf(lines[at + 1] ?? "").length
  )
    return tableAt(lines, at);
  return paragraphAt(lines, at, depth);
}

function codeAt(lines: string[], at: number, fence: string, language: string): [Block, number] {
  let end = at + 1;
  while (end < lines.length && !(lines[end] ?? "").trimStart().startsWith(fence)) end++;
  return [{ kind: "code", text: lines.slice(at + 1, end).join("\n"), language }, end + 1];
}

function quoteAt(lines: string[], at: number, depth: number): [Block, number] {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end] ?? "")) end++;
  const inner = lines.slice(at, end).map((l) => l.replace(QUOTE, ""));
  return [{ kind: "quote", blocks: blocksOf(inner, depth + 1) }, end];
}

function listAt(lines: string[], at: number, depth: number): [Block, number] {
  const mark = ITEM.exec(lines[at] ?? "")?.[2] ?? "-";
  const ordered = /\d/.test(mark);
  const items: Block[][] = [];
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end] ?? "");
    if (!found || /\d/.test(found[2] ?? "") !== ordered || RULE.test(lines[end] ?? "")) break;
    const indent = found[0].length;
    const body = [(lines[end] ?? "").slice(indent)];
    end++;
    while (end < lines.length && belongsToItem(lines, end, Math.min(indent, 4))) {
      body.push((lines[end] ?? "").replace(new RegExp(`^ {0,${indent}}`), ""));
      end++;
    }
    items.push(blocksOf(body, depth + 1));
  }
  return [{ kind: "list", ordered, start: ordered ? Number.parseInt(mark, 10) : 1, items }, end];
}

/** Indented lines, and empty ones with an indented line after them. An unindented line after text goes on with it. */
function belongsToItem(lines: string[], at: number, indent: number): boolean {
  const line = lines[at] ?? "";
  const isIndented = (text: string): boolean => text.startsWith(" ".repeat(Math.min(2, indent)));
  if (line.trim() === "") return isIndented(lines[at + 1] ?? "") && (lines[at + 1] ?? "").trim() !== "";
  return isIndented(line) || (!ITEM.test(line) && !startsBlock(line) && (lines[at - 1] ?? "").trim() !== "");
}

function startsBlock(line: string): boolean {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
}

function tableAt(lines: string[], at: number): [Block, number] {
  const head = cellsOf(lines[at] ?? "").map(parseInline);
  const align = cellsOf(lines[at + 1] ?? "").map(alignOf);
  const rows: Inline[][][] = [];
  let end = at + 2;
  while (end < lines.length && (lines[end] ?? "").includes("|")) {
    const cells = cellsOf(lines[end] ?? "");
    rows.push(head.map((_, i) => parseInline(cells[i] ?? "")));
    end++;
  }
  return [{ kind: "table", align, head, rows }, end];
}

function cellsOf(line: string): string[] {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function alignOf(cell: string): Align {
  if (cell.startsWith(":")) return cell.endsWith(":") ? "center" : "left";
  return cell.endsWith(":") ? "right" : "";
}

function paragraphAt(lines: string[], at: number, depth: number): [Block, number] {
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end] ?? "";
    if (line.trim() === "" || startsBlock(line) || (depth < DEEPEST && ITEM.test(line))) break;
    end++;
  }
  const text = lines
    .slice(at, end)
    .map((l) => l.trimStart())
    .join("\n")
    .trimEnd();
  return [{ kind: "paragraph", inline: parseInline(text) }, end];
}

// ------------------------------------------------------------------ inside a line

export function parseInline(text: string): Inline[] {
  return new Scanner(text).scan();
}

class Scanner {
  #out: Inline[] = [];
  #plain = "";
  /** Marks that have no second one in the rest of the text: looked for once. */
  #missing = new Set<string>();

  constructor(readonly text: string) {}

  scan(): Inline[] {
    let at = 0;
    while (at < this.text.length) at = this.#step(at);
    this.#endText();
    return this.#out;
  }

  /** Takes what stands here; returns where it goes on. */
  #step(at: number): number {
    const { text } = this;
    const char = text[at] ?? "";
    switch (char) {
      case "\\":
        if (text[at + 1] === "\n") return this.#add({ kind: "break" }, at + 2);
        return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")
          ? this.#keep(text[at + 1] ?? "", at + 2)
          : this.#keep(char, at + 1);
      case "\n":
        if (!this.#plain.endsWith("  ")) return this.#keep(" ", at + 1);
        this.#plain = this.#plain.trimEnd();
        return this.#add({ kind: "break" }, at + 1);
      case "`":
        return this.#code(at);
      case "[":
        return this.#link(at) ?? this.#keep(char, at + 1);
      case "!":
        return (text[at + 1] === "[" && this.#link(at + 1)) || this.#keep(char, at + 1);
      case "*":
      case "_":
      case "~":
        return this.#emphasis(at, char) ?? this.#keep(char, at + 1);
      case "<":
      case "h":
        return this.#address(at) ?? this.#keep(char, at + 1);
      default: {
        const plain = /[^\\\n`[!*_~<h]+/y;
        plain.lastIndex = at;
        return this.#keep(plain.exec(text)?.[0] ?? char, at + (plain.lastIndex - at || 1));
      }
    }
  }

  #code(at: number): number {
    const ticks = /`+/y;
    ticks.lastIndex = at;
    const mark = ticks.exec(this.text)?.[0] ?? "`";
    const end = this.#find(mark, at + mark.length);
    if (end < 0) return this.#keep(mark, at + mark.length);
    const inner = this.text.slice(at + mark.length, end).replaceAll("\n", " ");
    const isPadded = inner.length > 2 && inner.startsWith(" ") && inner.endsWith(" ");
    return this.#add({ kind: "code", text: isPadded ? inner.slice(1, -1) : inner }, end + mark.length);
  }

  /** `[text](address)`; an image `![text](address)` is a link too: nothing is loaded from elsewhere unasked. */
  #link(bracket: number): number | null {
    const near = this.text.slice(bracket, bracket + LONGEST_LINK);
    const found =
      /^\[((?:[^[\]\\]|\\.|\[[^[\]]*\])*)\]\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+"[^"]*")?\s*\)/.exec(
        near,
      );
    const href = found && safeHref(found[2] ?? "");
    if (!found || !href) return null;
    return this.#add({ kind: "link", href, children: parseInline(found[1] || href) }, bracket + found[0].length);
  }

  #emphasis(at: number, char: string): number | null {
    const { text } = this;
    const isDouble = text[at + 1] === char;
    if (char === "~" && !isDouble) return null;
    const mark = isDouble ? char + char : char;
    const begin = at + mark.length;
    if (/^\s?$/.test(text[begin] ?? "") || (char === "_" && /\w/.test(text[at - 1] ?? ""))) return null;
    let end = this.#find(mark, begin + 1);
    if (!isDouble) while (end >= 0 && text[end + 1] === char) end = this.#find(mark, end + 2);
    if (end < 0 || /\s/.test(text[end - 1] ?? " ") || (char === "_" && /\w/.test(text[end + mark.length] ?? "")))
      return null;
    const kind = char === "~" ? "del" : isDouble ? "strong" : "em";
    return this.#add({ kind, children: parseInline(text.slice(begin, end)) }, end + mark.length);
  }

  /** `<https://…>`, and `https://…` by itself. */
  #address(at: number): number | null {
    const near = this.text.slice(at, at + LONGEST_LINK);
    const found =
      /^<(https?:\/\/[^\s<>]+|mailto:[^\s<>]+)>/.exec(near) ??
      /^(https?:\/\/[^\s<>"'`*)\]]*[^\s<>"'`*)\].,;:!?])/.exec(near);
    const href = found && safeHref(found[1] ?? "");
    if (!found || !href || /\w/.test(this.text[at - 1] ?? "")) return null;
    return this.#add({ kind: "link", href, children: [{ kind: "text", text: href }] }, at + found[0].length);
  }

  #find(mark: string, from: number): number {
    if (this.#missing.has(mark)) return -1;
    const found = this.text.indexOf(mark, from);
    if (found < 0) this.#missing.add(mark);
    return found;
  }

  #keep(text: string, next: number): number {
    this.#plain += text;
    return next;
  }

  #add(inline: Inline, next: number): number {
    this.#endText();
    this.#out.push(inline);
    return next;
  }

  #endText(): void {
    if (this.#plain) this.#out.push({ kind: "text", text: this.#plain });
    this.#plain = "";
  }
}

const SAFE = new Set(["http:", "https:", "mailto:", "relative:"]);

/** The address, if following it can only lead somewhere; "" for `javascript:` and its kin, however they are written. */
export function safeHref(address: string): string {
  try {
    return address && SAFE.has(new URL(address, "relative://here/").protocol) ? address : "";
  } catch {
    return "";
  }
}
