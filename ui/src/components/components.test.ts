import { describe, expect, it } from "vitest";

import { ringArcs } from "../features/state/glyph";
import { duration, relative } from "./time";
import { rowWindow } from "./window.svelte";

describe("time in words", () => {
  it("says durations as precisely as they matter", () => {
    expect([0, 0.3104, 4.26, 42.9, 192, 7500, 273_600].map(duration)).toEqual([
      "0 s",
      "310 ms",
      "4.3 s",
      "42 s",
      "3 m 12 s",
      "2 h 05 m",
      "3 d 4 h",
    ]);
    expect(duration(Number.NaN)).toBe("–");
  });

  it("says how long ago or ahead an instant is", () => {
    const now = Date.parse("2026-11-22T17:00:00Z");

    expect(relative("2026-11-22T16:56:00Z", now)).toBe("4 min ago");
    expect(relative("2026-11-22T17:02:30Z", now)).toBe("in 2 min");
    expect(relative("2026-11-22T16:59:58Z", now)).toBe("just now");
  });
});

describe("rows near the window", () => {
  it("draws a few dozen of ten thousand and keeps the whole height", () => {
    const { from, to, before, after } = rowWindow(10_000, 32, 160_000, 160_800);

    expect(to - from).toBeLessThan(60);
    expect(before + (to - from) * 32 + after).toBe(320_000);
  });

  it("stays within the list however far away the window is", () => {
    expect(rowWindow(10, 32, 99_999, 100_999)).toEqual({ from: 10, to: 10, before: 320, after: 0 });
    expect(rowWindow(0, 32, 0, 800)).toEqual({ from: 0, to: 0, before: 0, after: 0 });
  });
});

describe("the mini-radar", () => {
  it("shows one failure among a thousand, first", () => {
    const arcs = ringArcs({ completed: 999, failed: 1 }, 16, 16, 13);

    expect(arcs.map((a) => a.type)).toEqual(["failed", "completed"]);
  });

  it("has no arcs without tasks", () => {
    expect(ringArcs({}, 16, 16, 13)).toEqual([]);
  });
});
