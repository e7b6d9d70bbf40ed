import { describe, expect, it } from "vitest";

import type { Artifact, ArtifactKind, Json } from "../../api/types";
import { inALine, isMoving, nameOf, progressOf } from "./words";

const made = (kind: ArtifactKind, data: Json, more: Partial<Artifact> = {}): Artifact => ({
  id: "1",
  kind,
  data,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
  ...more,
});

describe("artifacts in words", () => {
  it("say what they hold in a line", () => {
    expect(inALine(made("markdown", "\n# Report\n\ntext"))).toBe("Report");
    expect(inALine(made("table", { columns: ["a", "b"], rows: [[1, 2]] }))).toBe("1 row: a, b");
    expect(inALine(made("link", { url: "https://a.example", text: "" }))).toBe("https://a.example");
    expect(inALine(made("image", { type: "image/png", size: 12_345, blob: "x" }))).toBe("image/png, 12,345 bytes");
    expect(inALine(made("markdown", null))).toBe("");
    expect(nameOf(made("markdown", null, { key: "loss" }))).toBe("loss");
  });

  it("say how far progress is, known or not", () => {
    expect(progressOf({ percent: 12.345, done: 1234, total: 10_000 })).toEqual({
      percent: 12.345,
      words: "12.3 %, 1,234 of 10,000",
    });
    expect(progressOf({ done: 3 })).toEqual({ percent: null, words: "3" });
    expect(progressOf({ percent: 400 }).percent).toBe(100);
    const bars: Json[] = [{ percent: 100 }, { percent: 99 }, { done: 1 }];
    expect(bars.map((data) => isMoving(made("progress", data)))).toEqual([false, true, true]);
  });
});
