/** What live events do to rows that are on screen. */

import type { FlowRun, JournalEntry } from "../../api/types";
import { isFinal } from "../../api/states";

/** The run after a transition; itself if it already knew. */
export function afterTransition<R extends FlowRun>(run: R, entry: JournalEntry): R {
  if (entry.seq <= (run.seq ?? 1)) return run;
  const { state } = entry;
  const next: R = { ...run, state, seq: entry.seq, attempt: entry.attempt };
  if (state.type === "running" && !run.started_at) next.started_at = state.at;
  next.ended_at = isFinal(state.type) ? state.at : null;
  return next;
}

export interface Applied<R> {
  rows: R[];
  /** Some entries speak of runs, or of numbers in a row, that only the server can tell. */
  refetch: boolean;
}

/** Rows after a batch of journal entries. Unknown runs and changed task counts ask for the list again. */
export function applyJournal<R extends FlowRun>(rows: R[], entries: JournalEntry[]): Applied<R> {
  const at = new Map(rows.map((row, i) => [row.id, i]));
  const next = [...rows];
  let refetch = false;
  for (const entry of entries) {
    const i = at.get(entry.kind === "flow" ? entry.run_id : entry.flow_run_id);
    const row = i === undefined ? undefined : next[i];
    if (row === undefined || i === undefined || entry.kind === "task") refetch = true;
    else next[i] = afterTransition(row, entry);
  }
  return { rows: next, refetch };
}
