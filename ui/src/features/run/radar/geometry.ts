/** Shapes of links and arcs in the radar's plane, as paths; and what is under the pointer. */

import { shortWay } from "./angles";
import { cartesian, type Mark, type MarkLink, type Polar, type RadarLayout } from "./layout";

/** One step of a spiral for about this much sideways way. */
const STEP = 9;
/** How far towards the next ring a link with a detour goes along the radius at its ends. */
const STUB = 0.35;
/** 0.5 would lead the spline about through its points. */
const OUTWARD = 0.3;

/** Half the thickness of an arc, in the radar's units. */
export const ARC_HALF = 8;
/** Length of a chain's capsule. */
const CAPSULE = 44;

export function spanOf(mark: Mark): number {
  return mark.kind === "chain" ? CAPSULE / Math.max(mark.radius, CAPSULE) : mark.span;
}

/** A smooth spiral through the points of a link; radii grow from point to point. */
function spiral(path: Path2D, points: readonly Polar[], start: boolean): void {
  curve(points).forEach((p, i) => {
    if (i > 0) path.lineTo(...cartesian(p));
    else if (start) path.moveTo(...cartesian(p));
  });
}

/**
 * A link as a line of points. Between two marks: the radius goes steadily, the angle eases in and out. Past other rings:
 * a cubic B-spline in polar space, which cuts the corners of a detour instead of turning on the spot, and never leaves
 * the way that was kept clear. Both leave and arrive along the radius.
 */
export function curve(points: readonly Polar[]): Polar[] {
  return points.length === 2 ? eased(points) : splined(points);
}

function eased(points: readonly Polar[]): Polar[] {
  const [from, to] = [points[0] as Polar, points[1] as Polar];
  const turn = shortWay(from.angle, to.angle);
  const steps = stepsFor(turn, Math.max(from.radius, to.radius));
  return Array.from({ length: steps + 1 }, (_, i) => {
    const t = i / steps;
    return { angle: from.angle + turn * t * t * (3 - 2 * t), radius: from.radius + (to.radius - from.radius) * t };
  });
}

function splined(points: readonly Polar[]): Polar[] {
  const angle = unwound(points);
  const at = points.map((p, i) => ({ angle: angle[i] ?? 0, radius: p.radius }));
  const [first, second] = [at[0] as Polar, at[1] as Polar];
  const [last, before] = [at.at(-1) as Polar, at.at(-2) as Polar];
  const stub = (from: Polar, to: Polar): Polar => ({ ...from, radius: from.radius + (to.radius - from.radius) * STUB });
  // The spline cuts corners; points between are set further out, so that it stays off the discs it goes round.
  const between = at.slice(1, -1).map((p, i) => {
    const chord = ((at[i]?.angle ?? 0) + (at[i + 2]?.angle ?? 0)) / 2;
    return { ...p, angle: p.angle + (p.angle - chord) * OUTWARD };
  });
  // Threefold ends make the spline begin and end there.
  const inner = [stub(first, second), ...between, stub(last, before)];
  const hull = [first, first, first, ...inner, last, last, last];
  const out: Polar[] = [first];
  for (let i = 0; i + 3 < hull.length; i++) {
    const four = hull.slice(i, i + 4);
    const turn = Math.max(...four.map((p) => p.angle)) - Math.min(...four.map((p) => p.angle));
    const steps = stepsFor(turn / 2, four[3]?.radius ?? 0);
    for (let step = 1; step <= steps; step++) out.push(blend(four, step / steps));
  }
  return out;
}

/** A point of a uniform cubic B-spline. */
function blend(four: readonly Polar[], t: number): Polar {
  const weights = [
    (1 - t) ** 3 / 6,
    (3 * t ** 3 - 6 * t * t + 4) / 6,
    (-3 * t ** 3 + 3 * t * t + 3 * t + 1) / 6,
    t ** 3 / 6,
  ];
  const sum = (of: (p: Polar) => number): number => four.reduce((total, p, i) => total + (weights[i] ?? 0) * of(p), 0);
  return { angle: sum((p) => p.angle), radius: sum((p) => p.radius) };
}

function stepsFor(turn: number, radius: number): number {
  return Math.max(6, Math.min(64, Math.ceil((Math.abs(turn) * radius) / STEP)));
}

/** Angles as a line, each the short way from the one before. */
function unwound(points: readonly Polar[]): number[] {
  const out = [points[0]?.angle ?? 0];
  for (let i = 1; i < points.length; i++) {
    const before = out[i - 1] ?? 0;
    out.push(before + shortWay(before, points[i]?.angle ?? 0));
  }
  return out;
}

export function linkPath(link: MarkLink): Path2D {
  const path = new Path2D();
  spiral(path, link.path, true);
  return path;
}

/**
 * A link that starts or ends at an arc stands for many edges: a ribbon, as wide at each end as the share of the arc's
 * tasks it speaks of.
 */
export function ribbonPath(link: MarkLink, from: Mark, to: Mark): Path2D {
  const share = (mark: Mark): number => (spanOf(mark) / 2) * Math.min(1, link.weight / mark.members.length);
  const [hs, ht] = [share(from), share(to)];
  const first = { ...(link.path[0] as Polar), radius: from.radius + (from.kind === "task" ? 0 : ARC_HALF) };
  const last = { ...(link.path.at(-1) as Polar), radius: to.radius - (to.kind === "task" ? 0 : ARC_HALF) };
  const points = [first, ...link.path.slice(1, -1), last];
  const side = (sign: 1 | -1): Polar[] =>
    points.map((p, i) => {
      const t = i / (points.length - 1);
      return { radius: p.radius, angle: p.angle + sign * (hs + (ht - hs) * t) };
    });
  const path = new Path2D();
  const there = side(-1);
  spiral(path, there, true);
  const back = side(1).reverse();
  alongRing(path, there.at(-1) as Polar, back[0] as Polar);
  spiral(path, back, false);
  alongRing(path, back.at(-1) as Polar, there[0] as Polar);
  path.closePath();
  return path;
}

function alongRing(path: Path2D, from: Polar, to: Polar): void {
  const turn = to.angle - from.angle;
  const steps = Math.max(1, Math.ceil((Math.abs(turn) * from.radius) / STEP));
  for (let i = 1; i <= steps; i++) {
    path.lineTo(...cartesian({ angle: from.angle + (turn * i) / steps, radius: from.radius }));
  }
}

/** A piece of a ring between two angles. */
export function sectorPath(radius: number, half: number, from: number, to: number): Path2D {
  const path = new Path2D();
  // Canvas counts angles from three o'clock, we from twelve.
  const quarter = Math.PI / 2;
  path.arc(0, 0, radius + half, from - quarter, to - quarter);
  path.arc(0, 0, radius - half, to - quarter, from - quarter, true);
  path.closePath();
  return path;
}

/** The mark at a point of the radar's plane, at most `reach` away; -1 for none. */
export function markAt(radar: RadarLayout, x: number, y: number, reach: number): number {
  const radius = Math.hypot(x, y);
  const angle = Math.atan2(x, -y);
  let best = -1;
  let least = reach;
  radar.marks.forEach((mark, i) => {
    const away = mark.kind === "task" ? fromDisc(mark, x, y) : fromArc(mark, angle, radius, reach);
    if (away <= least) {
      least = away;
      best = i;
    }
  });
  return best;
}

function fromDisc(mark: Mark, x: number, y: number): number {
  const [mx, my] = cartesian(mark);
  return Math.hypot(mx - x, my - y);
}

function fromArc(mark: Mark, angle: number, radius: number, reach: number): number {
  const beside = Math.max(0, Math.abs(shortWay(mark.angle, angle)) - spanOf(mark) / 2) * mark.radius;
  const off = Math.abs(radius - mark.radius);
  if (off > Math.max(ARC_HALF + 2, reach / 2)) return Infinity;
  return beside;
}

/** Between two layouts, `t` of the way: marks slide, new ones come out of their first parent. */
export function between(before: RadarLayout, after: RadarLayout, t: number): RadarLayout {
  const old = new Map(before.marks.map((m) => [m.key, m]));
  const ease = t * (2 - t);
  const parent = new Map(after.links.map((l) => [l.to, after.marks[l.from]]));
  const marks = after.marks.map((mark, i) => {
    const from = old.get(mark.key) ?? parent.get(i) ?? mark;
    return {
      ...mark,
      angle: from.angle + shortWay(from.angle, mark.angle) * ease,
      radius: from.radius + (mark.radius - from.radius) * ease,
    };
  });
  const links = after.links.map((link) => ({
    ...link,
    path: link.path.map((p, i, all) =>
      i === 0 ? polar(marks[link.from], p) : i === all.length - 1 ? polar(marks[link.to], p) : p,
    ),
  }));
  return { ...after, marks, links };
}

function polar(mark: Mark | undefined, fallback: Polar): Polar {
  return mark ? { angle: mark.angle, radius: mark.radius } : fallback;
}
