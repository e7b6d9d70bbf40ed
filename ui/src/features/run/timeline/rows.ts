/** The rows of a timeline: tasks in order of their start, those of one name under a heading that can be closed. Pure. */

import { rowsOf, type TaskRow } from "../model";
import type { StateType } from "../../../api/states";
import type { TaskColumns } from "../../../api/types";

export interface TimelineRow {
  key: string;
  label: string;
  /** The tasks drawn in this row: one, or all of a closed group. */
  tasks: TaskRow[];
  /** A heading's name, for opening and closing; empty for a task's row. */
  group: string;
  open: boolean;
  depth: 0 | 1;
}

const SMALLEST_GROUP = 4;

export function timelineRows(tasks: TaskColumns, toggled: ReadonlySet<string>, openByDefault: boolean): TimelineRow[] {
  const begin = (r: TaskRow): number => r.startMs ?? r.createdMs ?? Number.MAX_SAFE_INTEGER;
  const sorted = rowsOf(tasks).sort((a, b) => begin(a) - begin(b) || a.index - b.index);
  const byName = new Map<string, TaskRow[]>();
  for (const row of sorted) {
    const members = byName.get(row.name);
    if (members) members.push(row);
    else byName.set(row.name, [row]);
  }
  return [...byName].flatMap(([name, members]) => {
    if (members.length < SMALLEST_GROUP) return members.map((m) => taskRow(m, 0));
    const open = toggled.has(name) !== openByDefault;
    const heading: TimelineRow = {
      key: `group:${name}`,
      label: `${name} ×${members.length}`,
      tasks: members,
      group: name,
      open,
      depth: 0,
    };
    return open ? [heading, ...members.map((m) => taskRow(m, 1))] : [heading];
  });
}

function taskRow(task: TaskRow, depth: 0 | 1): TimelineRow {
  return { key: task.id, label: task.label, tasks: [task], group: "", open: false, depth };
}

export interface Bar {
  fromMs: number;
  toMs: number;
  state: StateType;
}

/** The bars of a closed group: of one state, what overlaps is drawn once, so that 5,000 tasks are a few bars. */
export function mergedBars(tasks: readonly TaskRow[], endOf: (task: TaskRow) => number): Bar[] {
  const ran = tasks.filter((t) => t.startMs !== null).sort((a, b) => (a.startMs ?? 0) - (b.startMs ?? 0));
  const last = new Map<StateType, Bar>();
  const out: Bar[] = [];
  for (const task of ran) {
    const [fromMs, toMs] = [task.startMs ?? 0, endOf(task)];
    const bar = last.get(task.state);
    if (bar && fromMs <= bar.toMs) bar.toMs = Math.max(bar.toMs, toMs);
    else {
      const next = { fromMs, toMs, state: task.state };
      last.set(task.state, next);
      out.push(next);
    }
  }
  return out;
}

/** Ticks at round seconds, about `wanted` of them, over `span` ms. */
export function ticks(spanMs: number, wanted: number): number[] {
  const steps = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5,
    216e5, 432e5, 864e5,
  ];
  const step = steps.find((s) => spanMs / s <= wanted) ?? Math.ceil(spanMs / wanted);
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, i) => i * step);
}
