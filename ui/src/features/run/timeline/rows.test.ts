import { expect, it } from "vitest";

import type { TaskColumns } from "../../../api/types";
import { mergedBars, ticks, timelineRows } from "./rows";

const names = ["read", "train"];
const TASKS: TaskColumns = {
  t0: "2026-11-22T17:00:00Z",
  ids: ["a", "b", "c", "d", "e"],
  names,
  name_ix: [1, 1, 1, 1, 0],
  label: ["train-0", "train-1", "train-2", "train-3", "read-0"],
  state: ["completed", "running", "pending", "completed", "completed"],
  state_name: ["Completed", "Running", "Pending", "Completed", "Completed"],
  created_ms: [10, 11, 12, 13, 0],
  start_ms: [20, 30, null, 25, 1],
  end_ms: [40, null, null, 50, 9],
  attempt: [1, 1, 1, 1, 1],
  sub: [null, null, null, null, null],
};

it("puts tasks of one name under a heading, in the order of their start", () => {
  expect(timelineRows(TASKS, new Set(), true).map((r) => r.label)).toEqual([
    "read-0",
    "train ×4",
    "train-2",
    "train-0",
    "train-3",
    "train-1",
  ]);
});

it("closes a group to one row that draws all its bars", () => {
  const rows = timelineRows(TASKS, new Set(["train"]), true);

  expect(rows.map((r) => r.label)).toEqual(["read-0", "train ×4"]);
  expect(rows[1]?.tasks).toHaveLength(4);
});

it("merges what overlaps in a closed group, state by state", () => {
  const tasks = timelineRows(TASKS, new Set(["train"]), true)[1]?.tasks ?? [];

  expect(mergedBars(tasks, (t) => t.endMs ?? 60)).toEqual([
    { fromMs: 20, toMs: 50, state: "completed" },
    { fromMs: 30, toMs: 60, state: "running" },
  ]);
});

it("sets ticks at round times", () => {
  expect(ticks(42_000, 8)).toEqual([0, 10_000, 20_000, 30_000, 40_000]);
  expect(ticks(0, 8)).toEqual([0]);
});
