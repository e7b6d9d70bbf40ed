/** The mini-radar: rings of arcs by state, failures first, drawn from counts alone. */

import type { Counts } from "../../api/types";
import { STATE_TYPES, type StateType } from "../../api/states";

/** Failed first, so that red is on top wherever it is only a sliver. */
export const WORST_FIRST: readonly StateType[] = [
  "failed",
  "crashed",
  "paused",
  "cancelled",
  "running",
  "completed",
  "pending",
  "scheduled",
];

export interface Arc {
  type: StateType;
  path: string;
}

const SMALLEST_SHARE = 0.05;

/** Arcs of one ring about (cx, cy), clockwise from the top, lengths by count but never invisibly short. */
export function ringArcs(counts: Counts, cx: number, cy: number, r: number): Arc[] {
  const present = WORST_FIRST.filter((t) => (counts[t] ?? 0) > 0);
  const total = present.reduce((sum, t) => sum + (counts[t] ?? 0), 0);
  const shares = present.map((t) => Math.max(SMALLEST_SHARE, (counts[t] ?? 0) / total));
  const sum = shares.reduce((a, b) => a + b, 0);
  let from = 0;
  return present.map((type, i) => {
    const to = from + (shares[i] ?? 0) / sum;
    const path = arcPath(cx, cy, r, from, to);
    from = to;
    return { type, path };
  });
}

function arcPath(cx: number, cy: number, r: number, from: number, to: number): string {
  // A whole circle is no arc to SVG: stop a hair before its end.
  const end = Math.min(to, from + 0.9999);
  const [x0, y0] = onCircle(cx, cy, r, from);
  const [x1, y1] = onCircle(cx, cy, r, end);
  return `M${x0} ${y0}A${r} ${r} 0 ${end - from > 0.5 ? 1 : 0} 1 ${x1} ${y1}`;
}

function onCircle(cx: number, cy: number, r: number, turn: number): [number, number] {
  const a = turn * 2 * Math.PI - Math.PI / 2;
  return [round(cx + r * Math.cos(a)), round(cy + r * Math.sin(a))];
}

function round(x: number): number {
  return Math.round(x * 100) / 100;
}

export function totalOf(counts: Counts): number {
  return STATE_TYPES.reduce((sum, t) => sum + (counts[t] ?? 0), 0);
}
