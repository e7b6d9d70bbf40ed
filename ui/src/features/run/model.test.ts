import { expect, it } from "vitest";

import type { JournalEntry, RunPage, State } from "../../api/types";
import { applyToRun, countsInWords } from "./model";

const T0 = "2026-11-22T17:00:00.000Z";

function state(type: State["type"], seconds: number): State {
  const name = type.charAt(0).toUpperCase() + type.slice(1);
  return { type, name, at: new Date(Date.parse(T0) + seconds * 1000).toISOString() };
}

function entry(pos: number, runId: string, to: State, seq = 2): JournalEntry {
  return { pos, kind: runId === "r" ? "flow" : "task", run_id: runId, flow_run_id: "r", seq, attempt: 1, state: to };
}

const PAGE: RunPage = {
  run: {
    id: "r",
    flow_name: "f",
    name: "n",
    seq: 1,
    state: state("running", 0),
    created_at: T0,
    expected_start_at: T0,
  },
  tasks: {
    t0: T0,
    ids: ["a", "b"],
    names: ["x"],
    name_ix: [0, 0],
    label: ["x-0", "x-1"],
    state: ["running", "pending"],
    state_name: ["Running", "Pending"],
    created_ms: [0, 0],
    start_ms: [10, null],
    end_ms: [null, null],
    attempt: [1, 1],
    sub: [null, null],
  },
  position: 10,
};

it("changes tasks in place, with their times", () => {
  const { page, refetch } = applyToRun(PAGE, [
    entry(11, "a", state("completed", 2)),
    entry(12, "b", state("running", 3)),
  ]);

  expect(page.tasks.state).toEqual(["completed", "running"]);
  expect(page.tasks.start_ms).toEqual([10, 3000]);
  expect(page.tasks.end_ms).toEqual([2000, null]);
  expect(page.counts).toEqual({ completed: 1, running: 1 });
  expect(page.position).toBe(12);
  expect(refetch).toBe(false);
});

it("passes over what it has read already, and what is another run's", () => {
  const other = { ...entry(13, "z", state("failed", 2)), flow_run_id: "other" };

  expect(applyToRun(PAGE, [entry(9, "a", state("failed", 2)), other]).page).toBe(PAGE);
});

it("asks the server for tasks it has not heard of, and for the sentence when the run itself changed", () => {
  expect(applyToRun(PAGE, [entry(11, "new", state("pending", 2))]).refetch).toBe(true);

  const ended = applyToRun(PAGE, [entry(11, "r", state("failed", 5))]);

  expect(ended.refetch).toBe(true);
  expect(ended.page.run.state.type).toBe("failed");
  expect(ended.page.run.ended_at).toBe(state("failed", 5).at);
});

it("says of a finished run's pending tasks that they never ran", () => {
  expect(countsInWords({ completed: 9, failed: 1, pending: 2 }, "failed")).toBe("9 completed, 1 failed, 2 never ran");
  expect(countsInWords({ completed: 9, pending: 2 }, "running")).toBe("9 completed, 2 pending");
});
