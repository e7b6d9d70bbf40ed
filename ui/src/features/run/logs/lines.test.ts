import { expect, it } from "vitest";

import type { LogLine } from "../../../api/types";
import { ansiSpans, foldWords, levelName, rowsOfLines } from "./lines";

function line(n: number, message: string): LogLine {
  return { flow_run_id: "r", at: "2026-11-22T17:00:00Z", level: 20, logger: "x", message, n };
}

const TRACEBACK = "Failed\nTraceback (most recent call last):\n  File\nValueError: no";

it("folds a message of several lines to one row until it is opened", () => {
  const lines = [line(1, "a"), line(2, TRACEBACK), line(3, "b")];

  expect(rowsOfLines(lines, new Set()).map((r) => r.text)).toEqual(["a", "Failed", "b"]);
  expect(rowsOfLines(lines, new Set([2]))).toHaveLength(6);
});

it("says what is folded away", () => {
  expect(foldWords(TRACEBACK)).toBe("traceback, 3 lines: ValueError: no");
  expect(foldWords("a\nb\nc")).toBe("2 more lines");
});

it("names levels between the standard ones after the one below", () => {
  expect([5, 10, 25, 40, 99].map(levelName)).toEqual(["DEBUG", "DEBUG", "INFO", "ERROR", "CRITICAL"]);
});

it("reads the terminal's colours and drops other escapes", () => {
  expect(ansiSpans("plain")).toEqual([{ text: "plain", classes: "" }]);
  expect(ansiSpans("\u001b[1;33mwarn\u001b[0m: \u001b[2Kx")).toEqual([
    { text: "warn", classes: "c3 bold" },
    { text: ": x", classes: "" },
  ]);
});
