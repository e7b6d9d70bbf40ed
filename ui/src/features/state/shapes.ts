/**
 * How a state looks without its colour: a shape by type, an icon by name. Paths in a 24-unit square, used by the
 * SVG badge and by the radar's canvas alike, so that a state looks the same wherever it stands.
 */

import type { StateType } from "../../api/states";

const DISC = "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z";
const SQUARE = "M4.5 2.5h15a2 2 0 0 1 2 2v15a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2v-15a2 2 0 0 1 2-2z";
const DIAMOND = "M12 .8 23.2 12 12 23.2.8 12z";
const OCTAGON = "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9z";

/** solid: filled, icon in the surface's colour. hollow, dashed: an outline, icon in the state's colour. */
export type Fill = "solid" | "hollow" | "dashed";

export interface Shape {
  outline: string;
  fill: Fill;
  /** Strokes, 2.2 thick. */
  icon: string;
  /** The icon is filled instead of stroked. */
  iconFilled?: boolean;
}

const BY_TYPE: Record<StateType, Shape> = {
  scheduled: { outline: DISC, fill: "hollow", icon: "M12 6.5V12l3.7 2.4" },
  pending: { outline: DISC, fill: "dashed", icon: "M7.6 12h.01M12 12h.01M16.4 12h.01" },
  running: { outline: DISC, fill: "solid", icon: "M9.6 7.6v8.8l7-4.4z", iconFilled: true },
  paused: { outline: OCTAGON, fill: "solid", icon: "M9.6 8v8M14.4 8v8" },
  completed: { outline: DISC, fill: "solid", icon: "M7.2 12.4l3.3 3.4 6.4-7" },
  failed: { outline: SQUARE, fill: "solid", icon: "M7.8 7.8l8.4 8.4M16.2 7.8l-8.4 8.4" },
  crashed: { outline: DIAMOND, fill: "solid", icon: "M13.2 5.5 9.8 11h4.4l-3.4 7.5" },
  cancelled: { outline: DISC, fill: "solid", icon: "M7.6 16.4l8.8-8.8" },
};

const BY_NAME: Record<string, Partial<Shape>> = {
  Late: { icon: "M9.4 7v5.4l3 2.2M16.3 7.3v5M16.3 15.9v.01" },
  AwaitingRetry: { icon: "M16.4 9.4a5.2 5.2 0 1 0 .6 3.8M17 6.2v3.4h-3.4" },
  Retrying: { icon: "M16.4 9.4a5.2 5.2 0 1 0 .6 3.8M17 6.2v3.4h-3.4", iconFilled: false },
  Cached: { icon: "M13.2 5.2 7.6 13h4l-.8 5.8L16.4 11h-4z", iconFilled: true },
  Skipped: { icon: "M6.6 14.5a5.6 5.6 0 0 1 10.4-2M17.4 8v4.6h-4.6" },
  TimedOut: { icon: "M8 6.5h8M8 17.5h8M9 6.5c0 4.4 6 6.6 6 11M15 6.5c0 4.4-6 6.6-6 11" },
  UpstreamFailed: { fill: "hollow" },
};

export function shapeOf(type: StateType, name = ""): Shape {
  return { ...BY_TYPE[type], ...BY_NAME[name] };
}
