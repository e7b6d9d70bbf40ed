import { describe, expect, it } from "vitest";

import { parseInline, parseMarkdown, safeHref, type Block, type Inline } from "./markdown";

const text = (t: string): Inline => ({ kind: "text", text: t });

/** The tree as short text: what is inside what. */
function sketch(blocks: Block[]): string {
  return blocks
    .map((b) => {
      switch (b.kind) {
        case "heading":
          return `h${b.level}(${line(b.inline)})`;
        case "paragraph":
          return `p(${line(b.inline)})`;
        case "code":
          return `code[${b.language}](${b.text})`;
        case "quote":
          return `quote(${sketch(b.blocks)})`;
        case "list":
          return `${b.ordered ? `ol${b.start}` : "ul"}(${b.items.map(sketch).join(" | ")})`;
        case "table":
          return `table(${b.head.map(line).join(",")}; ${b.rows.map((r) => r.map(line).join(",")).join("; ")}; ${b.align.join(",")})`;
        case "rule":
          return "rule";
      }
    })
    .join(" ");
}

function line(inline: Inline[]): string {
  return inline
    .map((i) => {
      switch (i.kind) {
        case "text":
          return i.text;
        case "code":
          return `\`${i.text}\``;
        case "link":
          return `{${line(i.children)}->${i.href}}`;
        case "break":
          return "/";
        default:
          return `${i.kind}(${line(i.children)})`;
      }
    })
    .join("");
}

const md = (t: string): string => sketch(parseMarkdown(t));

describe("markdown", () => {
  it("knows what reports are made of", () => {
    expect(md("# One\n\ntext\nof two lines\n\n## Two ##\n---")).toBe("h1(One) p(text of two lines) h2(Two) rule");
    expect(md("- a\n- b\n  - c\n  - d\n\n1. x\n2. y")).toBe("ul(p(a) | p(b) ul(p(c) | p(d))) ol1(p(x) | p(y))");
    expect(md("7. a\n\n   more of a\n8. b")).toBe("ol7(p(a) p(more of a) | p(b))");
    expect(md("> quoted\n> - list\n\nafter")).toBe("quote(p(quoted) ul(p(list))) p(after)");
    expect(md("```python\nx = '**1**'\n\n# no heading\n```\nend")).toBe(
      "code[python](x = '**1**'\n\n# no heading) p(end)",
    );
    expect(md("| a | b |\n|:--|--:|\n| 1 | **2** |\n| x\\|y |\n\nend")).toBe(
      "table(a,b; 1,strong(2); x|y,; left,right) p(end)",
    );
  });

  it("knows emphasis, code and links inside a line", () => {
    expect(line(parseInline("a **b *c* d** `**e**` ~~f~~ _g_"))).toBe("a strong(b em(c) d) `**e**` del(f) em(g)");
    expect(line(parseInline("2 * 3 * 4, snake_case_name, a\\*b\\*"))).toBe("2 * 3 * 4, snake_case_name, a*b*");
    expect(line(parseInline("[a **b**](runs/1?x=(y)) https://a.example/x. <https://b.example>"))).toBe(
      "{a strong(b)->runs/1?x=(y)} {https://a.example/x->https://a.example/x}. {https://b.example->https://b.example}",
    );
    expect(line(parseInline("![a picture](https://a.example/p.png)"))).toBe("{a picture->https://a.example/p.png}");
    expect(line(parseInline("one  \ntwo"))).toBe("one/two");
    expect(parseInline("**open and `open")).toEqual([text("**open and `open")]);
  });

  it("takes HTML for text", () => {
    const evil = '<img src=x onerror="alert(1)"> <script>alert(1)</script>';
    expect(parseMarkdown(evil)).toEqual([{ kind: "paragraph", inline: [text(evil)] }]);
  });

  it("makes no link that could run something", () => {
    for (const bad of [
      "javascript:alert(1)",
      "JaVaScRiPt:alert(1)",
      " javascript:1",
      "java\nscript:1",
      "data:text/html,x",
      "vbscript:x",
      "\u0001javascript:1",
    ])
      expect(safeHref(bad)).toBe("");
    for (const good of ["https://a.example", "runs/1", "#x", "mailto:a@b.example", "/runs"])
      expect(safeHref(good)).toBe(good);
    expect(line(parseInline("[x](javascript:alert`1`)"))).not.toContain("->");
  });

  it("takes a megabyte of unfinished marks in its stride", () => {
    const began = performance.now();
    for (const mark of ["*a ", "**", "[", "[a](", "`", "<", "> ", "- ", "~~", "_", "| a ", "h", "\\"])
      parseMarkdown(mark.repeat(1_000_000 / mark.length / 4));
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});
