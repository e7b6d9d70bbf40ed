/** What the run's page knows, and what live events do to it. Pure. */

import { isFinal, type StateType } from "../../api/states";
import type { Counts, JournalEntry, RunPage, TaskColumns } from "../../api/types";
import { afterTransition } from "../runs/rows";

export interface AppliedToRun {
  page: RunPage;
  /** A task or child that the page has not heard of: only the server knows its name and its edges. */
  refetch: boolean;
}

/** The page after a batch of journal entries; entries it has already read are passed over. */
export function applyToRun(page: RunPage, entries: readonly JournalEntry[]): AppliedToRun {
  const position = page.position ?? 0;
  const mine = entries.filter(
    (e) => e.pos > position && (e.flow_run_id === page.run.id || page.tasks.ids.includes(e.run_id)),
  );
  if (mine.length === 0) return { page, refetch: false };
  const at = new Map(page.tasks.ids.map((id, i) => [id, i]));
  const tasks = copyOf(page.tasks);
  const t0 = Date.parse(tasks.t0);
  let { run } = page;
  let refetch = false;
  for (const entry of mine) {
    const i = at.get(entry.run_id);
    if (entry.run_id === run.id) {
      run = afterTransition(run, entry);
      // The sentence on top and the error are the server's to say.
      refetch = true;
    } else if (i === undefined) refetch = true;
    else applyToTask(tasks, i, entry, t0);
  }
  const last = mine.at(-1)?.pos ?? position;
  return { page: { ...page, run, tasks, counts: countsOf(tasks.state), position: last }, refetch };
}

function copyOf(tasks: TaskColumns): TaskColumns {
  return {
    ...tasks,
    state: [...tasks.state],
    state_name: [...tasks.state_name],
    start_ms: [...tasks.start_ms],
    end_ms: [...tasks.end_ms],
    attempt: [...tasks.attempt],
  };
}

function applyToTask(tasks: TaskColumns, i: number, { state, attempt }: JournalEntry, t0: number): void {
  const ms = Date.parse(state.at) - t0;
  tasks.state[i] = state.type;
  tasks.state_name[i] = state.name;
  tasks.attempt[i] = attempt;
  if (state.type === "running") tasks.start_ms[i] ??= ms;
  tasks.end_ms[i] = isFinal(state.type) ? ms : null;
}

export function countsOf(states: readonly StateType[]): Counts {
  const out: Counts = {};
  for (const type of states) out[type] = (out[type] ?? 0) + 1;
  return out;
}

/** Tasks as rows, for lists: the columns are the truth. */
export interface TaskRow {
  index: number;
  id: string;
  label: string;
  name: string;
  state: StateType;
  stateName: string;
  createdMs: number | null;
  startMs: number | null;
  endMs: number | null;
  attempt: number;
  sub: string | null;
}

export function rowsOf(tasks: TaskColumns): TaskRow[] {
  return tasks.ids.map((id, i) => ({
    index: i,
    id,
    label: tasks.label[i] ?? "",
    name: tasks.names[tasks.name_ix[i] ?? 0] ?? "",
    state: tasks.state[i] ?? "pending",
    stateName: tasks.state_name[i] ?? "",
    createdMs: tasks.created_ms[i] ?? null,
    startMs: tasks.start_ms[i] ?? null,
    endMs: tasks.end_ms[i] ?? null,
    attempt: tasks.attempt[i] ?? 1,
    sub: tasks.sub[i] ?? null,
  }));
}

/** "9 completed, 1 failed, 2 never ran": of a finished run what is pending never ran. */
export function countsInWords(counts: Counts, runState: StateType): string {
  const order: StateType[] = [
    "completed",
    "running",
    "failed",
    "crashed",
    "paused",
    "cancelled",
    "scheduled",
    "pending",
  ];
  const word = (type: StateType): string =>
    isFinal(runState) && (type === "pending" || type === "scheduled") ? "never ran" : type;
  return order.flatMap((type) => (counts[type] ? `${counts[type].toLocaleString("en")} ${word(type)}` : [])).join(", ");
}
